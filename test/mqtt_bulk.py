"""Many MQTT 3.1.1 messages quickly, by hand: encoded here, sent in windows, acknowledged as they come."""
import socket
import struct

from mqtt_wire import frame, text


class Bulk:
    def __init__(self, address, name, user, password, clean=False, keep_alive=0):
        self.socket = socket.create_connection(address, 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        flags = 0xC0 | (2 if clean else 0)
        self.socket.sendall(frame(0x10, text("MQTT") + bytes([4, flags]) + struct.pack(">H", keep_alive) + text(name) + text(user) + text(password)))
        first, body = self.packet()
        assert first == 0x20 and body[1] == 0, (first, body)
        self.present = body[0]

    def packet(self):
        """The next whole packet: (first byte, body)."""
        while True:
            size, shift, at = 0, 0, 1
            while at < len(self.buffer) and at < 5:
                size |= (self.buffer[at] & 127) << shift
                shift += 7
                at += 1
                if not self.buffer[at - 1] & 128:
                    if len(self.buffer) >= at + size:
                        found = self.buffer[0], self.buffer[at:at + size]
                        self.buffer = self.buffer[at + size:]
                        return found
                    break
            self.fill()

    def fill(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("closed")
        self.buffer += data

    def subscribe(self, filter_, qos=1):
        self.socket.sendall(frame(0x82, b"\0\1" + text(filter_) + bytes([qos])))
        first, body = self.packet()
        assert first == 0x90 and body[2] == qos, body

    def publish(self, topic, payloads, window=500):
        """QoS 1; all are acknowledged when it returns."""
        payloads = list(payloads)
        for at in range(0, len(payloads), window):
            part = payloads[at:at + window]
            self.socket.sendall(b"".join(frame(0x32, text(topic) + struct.pack(">H", i + 1) + p) for i, p in enumerate(part)))
            left = 4 * len(part)
            while left > len(self.buffer):
                self.fill()
            assert self.buffer[:left:4] == b"\x40" * len(part), self.buffer[:8]
            self.buffer = self.buffer[left:]

    def receive(self, count, last=None):
        """Payloads of `count` messages with QoS 1 or 0, which are acknowledged; none behind one that begins with `last`."""
        got, ended = [], False
        while len(got) < count and not ended:
            acks = bytearray()
            at = 0
            data = self.buffer
            while len(got) < count and not ended:
                size, shift, n = 0, 0, at + 1
                whole = False
                while n < len(data) and n < at + 5:
                    size |= (data[n] & 127) << shift
                    shift += 7
                    n += 1
                    if not data[n - 1] & 128:
                        whole = len(data) >= n + size
                        break
                if not whole:
                    break
                body = data[n:n + size]
                assert data[at] >> 4 == 3, data[at]
                skip = 2 + struct.unpack_from(">H", body)[0]
                if data[at] & 6:
                    acks += b"\x40\x02" + body[skip:skip + 2]
                    skip += 2
                got.append(body[skip:])
                ended = last is not None and got[-1].startswith(last)
                at = n + size
            self.buffer = data[at:]
            if acks:
                self.socket.sendall(acks)
            if len(got) < count and not ended:
                self.fill()
        return got

    def close(self):
        self.socket.close()
