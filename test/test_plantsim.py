"""Claims about plantsim on the wire, seen by pymodbus, and about the manifests that describe it."""
import os
import re
import socket
import struct
import subprocess
import threading
import time

import yaml

from conftest import BUILD, ROOT

TYPES = {("bit", None): "bit", ("int16", None): "int16", ("uint16", None): "uint16", ("uint32", "ABCD"): "uint32 ABCD",
         ("float", "ABCD"): "float ABCD", ("float", "CDAB"): "float CDAB"}


def register_map():
    """{address: (type, scale, use)} as `plantsim --map` prints it."""
    text = subprocess.run([os.path.join(BUILD, "plantsim"), "--map"], stdout=subprocess.PIPE, check=True, text=True).stdout
    rows = re.findall(r"^\| \d+ \| `(.*?)` \| (.*?) \| (.*?) \| .*? \| (.*?) \|", text, re.M)
    return {address: (kind, float(scale or 1), use) for address, kind, scale, use in rows}


def documents(name):
    with open(os.path.join(ROOT, "examples", "plant", f"{name}.yaml"), encoding="utf-8") as source:
        return list(yaml.safe_load_all(source))


def test_the_example_manifests_describe_what_plantsim_serves():
    registers = register_map()
    columns = {t["metadata"]["name"]: {c["name"]: c for c in t["spec"]["columns"]} for t in documents("tables")}
    connections = [c["metadata"]["name"] for c in documents("connections")]
    for device in documents("devices"):
        spec = device["spec"]
        assert spec["connection"] in connections
        for point in spec["points"]:
            assert point["column"] in columns[spec["table"]], point
            if spec["connection"] != "plant-plc":
                continue  # the machine itself, see test_equipment.py
            kind, scale, use = registers[point["address"]]
            assert TYPES[point["type"], point.get("order")] == kind, point
            assert point.get("scale", 1) == scale, point
            assert (point.get("access") == "rw") == (use != "measured"), point
    for table in columns.values():
        assert all("description" in c for c in table.values())


def test_the_free_set_point_is_the_one_that_users_rely_on():
    press01 = next(d for d in documents("devices") if d["metadata"]["name"] == "press01")["spec"]
    points = {p["column"]: p for p in press01["points"]}
    assert (press01["path"], press01["interval"]) == ("line1/press01", "1s")
    assert points["setpoint"] == {"column": "setpoint", "address": "1!400001", "type": "int16", "scale": 0.1,
                                  "access": "rw", "min": 0, "max": 100}
    assert points["lamp"] == {"column": "lamp", "address": "1!000001", "type": "bit", "access": "rw"}


def test_the_documents_show_what_the_programs_print():
    done = subprocess.run(["/usr/bin/python3", os.path.join(ROOT, "tools", "docs.py"), "--check", "--build", BUILD],
                          stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_function_is_served(pymodbus_client):
    c = pymodbus_client
    assert not c.write_register(0, 250, slave=1).isError()
    assert not c.write_coil(0, True, slave=1).isError()
    time.sleep(0.1)  # ten ticks of physics, which leave both alone
    assert c.read_holding_registers(0, 1, slave=1).registers == [250]
    assert c.read_coils(0, 1, slave=1).bits[0] is True
    assert not c.write_registers(0, [0x1234, 7], slave=1).isError()
    assert not c.write_coils(0, [False], slave=1).isError()
    assert not c.mask_write_register(0, 0xFF00, 0x0012, unit=1).isError()
    assert c.readwrite_registers(read_address=0, read_count=2, write_address=1, write_registers=[9], unit=1).registers == [0x1212, 9]
    assert len(c.read_discrete_inputs(0, 1, slave=1).bits) >= 1
    assert len(c.read_input_registers(0, 5, slave=1).registers) == 5


def test_refusals_carry_the_right_exception(pymodbus_client):
    c = pymodbus_client
    assert c.read_holding_registers(0, 1, slave=9).exception_code == 11
    assert c.read_holding_registers(399, 2, slave=1).exception_code == 2
    assert c.read_holding_registers(0, 126, slave=1).exception_code == 3


def test_the_tick_counter_is_wall_time_in_whole_pairs(pymodbus_client):
    last = 0
    for _ in range(500):
        before = int(time.time() * 100)
        high, low = pymodbus_client.read_holding_registers(10, 2, slave=1).registers
        ticks = high << 16 | low
        assert ticks >= last
        # Asked before and after: at most a late tick behind, never ahead by more than the clock's slewing.
        assert -50 <= ticks - (before & 0xFFFFFFFF) <= 50
        last = ticks
        time.sleep(0.001)


def test_a_half_frame_holds_up_nobody_and_is_answered_when_complete(plantsim, pymodbus_client):
    with socket.create_connection((plantsim.host, plantsim.port), timeout=5) as slow:
        slow.sendall(bytes.fromhex("0001 0000 0006 01 03 00"))
        for _ in range(100):
            assert not pymodbus_client.read_holding_registers(0, 1, slave=1).isError()
        slow.sendall(bytes.fromhex("0000 01" "0002 0000 0006 01 03 0000 0001"))
        got = b""
        while len(got) < 22:
            got += slow.recv(100)
        assert (got[:8], got[11:19]) == (bytes.fromhex("0001 0000 0005 01 03"), bytes.fromhex("0002 0000 0005 01 03"))


def test_what_is_not_modbus_is_dropped_and_the_rest_served(plantsim, pymodbus_client):
    with socket.create_connection((plantsim.host, plantsim.port), timeout=5) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(10) == b""
    # A count of bytes that the frame does not hold must not reach the registers.
    with socket.create_connection((plantsim.host, plantsim.port), timeout=5) as liar:
        liar.sendall(bytes.fromhex("0001 0000 0008 01 10 0000 0002 04 55"))
        assert liar.recv(100)[7:] == bytes.fromhex("90 03")
    assert pymodbus_client.read_holding_registers(0, 1, slave=1).registers == [0]


def test_many_clients_at_once(plantsim):
    request, wrong = bytes.fromhex("0001 0000 0006 03 03 0000 000c"), []

    def poll():
        with socket.create_connection((plantsim.host, plantsim.port), timeout=10) as line:
            for _ in range(50):
                line.sendall(request)
                got = b""
                while len(got) < 33:
                    got += line.recv(100)
                flow = struct.unpack(">f", got[11:13] + got[9:11])[0]
                if not 39 < flow < 41:
                    wrong.append(flow)

    threads = [threading.Thread(target=poll) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_arrival_log_tells_when_what_was_asked(tmp_path):
    log = tmp_path / "arrivals"
    process = subprocess.Popen([os.path.join(BUILD, "plantsim"), "--listen", "127.0.0.1:0", "--log", str(log), "--units", "2",
                                "--registers", "130"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
            before = time.monotonic_ns()
            line.sendall(bytes.fromhex("0001 0000 0006 65 03 0005 007d"))
            answer = line.recv(300)
            after = time.monotonic_ns()
        assert answer[7:9] == bytes([3, 250])
    finally:
        process.terminate()
        assert process.wait(10) == 0
    data = log.read_bytes()
    assert data[:16] == b"plantsim log 1\n\0" and len(data) == 32
    when, *what = struct.unpack("<QBBHHH", data[16:])
    assert before <= when <= after and what == [101, 3, 5, 125, 0]
