"""What lies between a node and pymodbus in tests: a serial line, and a modem that dials in.

Both are relays in threads of the test's process; they pass bytes on as they are, so that the peer stays the independent one.
"""
import os
import select
import socket
import threading
import time
import tty


class SerialLine:
    """Two pseudo terminals, joined: .ours is opened by the node, .theirs by the equipment. Bytes seen are kept in .traffic as
    (seconds, side, bytes), where side is "node" or "equipment"."""

    def __init__(self):
        self.masters, self.slaves = zip(*(os.openpty() for _ in range(2)))
        for slave in self.slaves:
            tty.setraw(slave)
        self.ours, self.theirs = (os.ttyname(slave) for slave in self.slaves)
        self.traffic = []
        self.running = True
        self.thread = threading.Thread(target=self.relay, daemon=True)
        self.thread.start()

    def relay(self):
        while self.running:
            for master in select.select(self.masters, [], [], 0.1)[0]:
                data = os.read(master, 4096)
                side = self.masters.index(master)
                self.traffic.append((time.monotonic(), ("node", "equipment")[side], data))
                os.write(self.masters[1 - side], data)

    def stop(self):
        self.running = False
        self.thread.join()
        for end in self.masters + self.slaves:
            os.close(end)


class Modem:
    """Dials in at the node's port, registers, and connects the node with the equipment behind it (a TCP port)."""

    def __init__(self, node_port, equipment_port, registration=b"", heartbeat=b"", every_s=0.05):
        self.node_port, self.equipment_port = node_port, equipment_port
        self.registration, self.heartbeat, self.every_s = registration, heartbeat, every_s
        self.calls, self.running = 0, True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.running:
            try:
                self.call()
            except OSError:
                pass
            time.sleep(0.05)

    def call(self):
        with socket.create_connection(("127.0.0.1", self.equipment_port), 1) as equipment, \
                socket.create_connection(("127.0.0.1", self.node_port), 1) as node:
            self.calls += 1
            half = len(self.registration) // 2
            node.sendall(self.registration[:half])
            time.sleep(0.02)
            node.sendall(self.registration[half:])
            beat = time.monotonic()
            while self.running:
                for end in select.select([equipment, node], [], [], 0.02)[0]:
                    data = end.recv(4096)
                    if not data:
                        return
                    (node if end is equipment else equipment).sendall(data)
                if self.heartbeat and time.monotonic() - beat > self.every_s:
                    beat = time.monotonic()
                    node.sendall(self.heartbeat)

    def stop(self):
        self.running = False
        self.thread.join()
