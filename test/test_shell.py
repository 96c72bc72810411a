"""`millrace sql` as people use it: at a terminal (a real one, by a pty), in a pipe, with -c and -f."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

from conftest import wait_for

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>()][A-Z0-9]?|\r|\x07")


class Terminal:
    """The shell at a terminal of 24 lines; `home` holds its history."""

    def __init__(self, node, home, lines=24, env=()):
        self.text, self.seen = "", 0
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ.update(MILLRACE_DATA=node.data, HOME=str(home), TERM="xterm", LANG="C.UTF-8", **dict(env))
            os.execv(node.millrace, [node.millrace, "sql"])
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 120, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())
        return self

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            self.text += os.read(self.master, 65536).decode(errors="replace")
        except OSError:  # it has ended
            return False
        return True

    def expect(self, part, seconds=10):
        """Waits for a text behind all that was expected before; gives what stands between."""
        end = time.monotonic() + seconds
        while True:
            plain = ESCAPES.sub("", self.text)
            at = plain.find(part, self.seen)
            if at >= 0:
                between, self.seen = plain[self.seen:at], at + len(part)
                return between
            assert time.monotonic() < end and (self.read(0.2) or time.monotonic() < end), (part, plain[self.seen:])

    def end_of_input(self):
        """Types Ctrl-D, once the shell edits the line: the kernel makes a zero of one that comes between its prompt and that."""
        wait_for(lambda: not termios.tcgetattr(self.master)[3] & termios.ICANON, 10, "no line is edited")
        return self.type("\x04")

    def end(self):
        """The exit status; a shell that does not end is a failure."""
        def ended():
            self.read(0.01)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            return pid and (status,)
        (status,) = wait_for(ended, 20, lambda: f"the shell goes on: {ESCAPES.sub('', self.text)[self.seen:]}")
        os.close(self.master)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture(name="terminal")
def terminal_fixture(node_factory, tmp_path):
    node = node_factory()
    node.sql("CREATE TABLE press (temperature double, note text)")
    node.sql("INSERT INTO press (time, device, temperature, note) VALUES ('2026-11-21', 'p1', 1.5, NULL), ('2026-11-22', 'p1', 2.5, 'x')")
    node.sql("CREATE VIEW hot AS SELECT device, temperature FROM press WHERE temperature > 2")

    def open_one(**options):
        made = Terminal(node, tmp_path, **options)
        made.expect("millrace> ")
        return made
    open_one.node = node
    return open_one


def test_statements_take_lines_lines_take_statements_and_errors_show_their_place(terminal):
    shell = terminal()
    shell.type("SELECT temperature\n").expect("-> ")
    shell.type("FROM press -- a comment; with a semicolon\n").expect("-> ")
    shell.type("WHERE note = ';' OR temperature < 2;\n").expect("(1 row)")
    shell.type("SELECT 1 AS one; SELECT 2 AS two;\n").expect("one")
    shell.expect("two")
    shell.type("SELECT 1,\n nope FROM press;\n").expect("column \"nope\" does not exist")
    assert shell.expect("^").endswith("line 2:  nope FROM press\n         ")
    shell.type("SELECT 3 AS three \\g\n").expect("three")
    shell.expect("(1 row)")
    shell.type("\\q\n")
    assert shell.end() == 0


def test_tab_completes_tables_columns_keywords_and_commands(terminal):
    shell = terminal()
    shell.type("SEL\ttemp\t").expect("SELECT temperature")
    shell.type("FROM pre\t;\n").expect("FROM press")
    shell.expect("(2 rows)")
    shell.type("\\d pre\t\n").expect("\\d press")
    shell.expect("temperature")
    terminal.node.sql("CREATE TABLE zebra (v double)")
    time.sleep(5.1)
    shell.type("SELECT * FROM zeb\t;\n").expect("FROM zebra")
    shell.expect("(0 rows)")
    shell.type("\\q\n")
    assert shell.end() == 0


def test_history_outlives_the_shell_and_is_nobody_elses(terminal, tmp_path):
    shell = terminal()
    shell.type("SELECT 41 +\n").expect("-> ")
    shell.type("1 AS answer;\n").expect("42")
    shell.expect("millrace> ")
    shell.type("\\q\n")
    assert shell.end() == 0
    assert os.stat(tmp_path / ".millrace_history").st_mode & 0o777 == 0o600
    shell = terminal()
    shell.type("\x1b[A\x1b[A").expect("SELECT 41 + 1 AS answer;")
    shell.type("\n").expect("42")
    shell.type("\\q\n")
    assert shell.end() == 0


def test_ctrl_c_gives_up_the_line_or_the_statement_and_nothing_else(terminal):
    shell = terminal()
    shell.type("SELECT broken\n").expect("-> ")
    shell.type("\x03").expect("millrace> ")
    shell.type("SELECT 7 AS seven;\n").expect("(1 row)")
    shell.expect("millrace> ")
    terminal.node.request("POST", "/v1/import?table=wide&types=n:bigint", "time,device,n\n" + "".join(
        f"{1_700_000_000 + i},d,{i % 3}\n" for i in range(30_000)))
    shell.type("SELECT count(*) FROM wide a JOIN wide b ON a.n = b.n JOIN wide c ON b.n = c.n WHERE a.n + b.n + c.n > 7;\n")
    time.sleep(0.7)
    shell.type("\x03").expect("cancelled", 5)
    shell.expect("millrace> ")
    shell.type("SELECT 8 AS eight;\n").expect("(1 row)")
    shell.type("\\watch 0.1\n").expect("eight")
    shell.expect("eight")
    shell.expect("eight")
    shell.type("\x03").expect("millrace> ")
    shell.end_of_input()
    assert shell.end() == 0


def test_a_long_answer_goes_through_the_pager(terminal, tmp_path):
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho PAGED; cat\n")
    pager.chmod(0o755)
    shell = terminal(lines=6, env={"PAGER": str(pager)})
    shell.type("SELECT 1;\n")
    assert "PAGED" not in shell.expect("(1 row)")
    shell.type("\\d press\n").expect("PAGED")
    shell.expect("temperature")
    shell.type("\\pset pager off\n\\d press\n")
    assert "PAGED" not in shell.expect("(6 rows)")
    shell.type("\\q\n")
    assert shell.end() == 0


@pytest.fixture(name="sql")
def sql_fixture(terminal, tmp_path):
    """sql(TEXT, ARGUMENTS…, code=0): what goes in comes out as (stdout, stderr)."""
    def run(text, *arguments, code=0, env=()):
        done = subprocess.run([terminal.node.millrace, "sql", *map(str, arguments)], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False, cwd=tmp_path,
                              env=dict(os.environ, MILLRACE_DATA=terminal.node.data, **dict(env)))
        assert done.returncode == code, (text, done.returncode, done.stdout, done.stderr)
        return done.stdout, done.stderr
    run.node = terminal.node
    return run


def test_commands_show_what_there_is(sql):
    out, _ = sql("\\f csv\n\\d\n\\dt\n\\dv\n\\d hot\n\\du adm\n\\l\n\\c\n")
    assert out.count("public,press,table") == 2 and out.count("public,hot,view") == 2
    assert "temperature,double" in out and "admin,true,true" in out and "\ndefault" in out
    assert "time_bucket" in sql("\\df\n")[0]
    assert "connections" in sql("\\dS conn\n")[0]
    out, _ = sql("\\?\n\\h\n\\h sel\n")
    assert "\\watch [SECONDS [TIMES]]" in out and "CREATE VIEW" in out and "[WHERE condition]" in out
    assert "there is no command \\nope" in sql("\\nope\n", code=1)[1]


def test_commands_change_how_answers_look(sql):
    out, _ = sql("\\pset null '∅ none'\nSELECT note, temperature FROM press ORDER BY time;\n\\x\nSELECT note FROM press ORDER BY time;\n"
                 "\\timing on\nSELECT 1 AS a;\n", "--format", "table")
    assert "∅ none" in out and "─[ row 2 ]─\nnote  x\n" in out and re.search(r"a  1\nTime: \d+\.\d{3} ms\n", out)
    assert sql("SELECT note FROM press ORDER BY time;\n")[0] == "\nx\n", "tsv, nothing for NULL"
    assert sql("SELECT 'a\tb' AS x, '\x1b[2J' AS y", "--format", "table")[0].endswith("a?b  ?[2J\n(1 row)\n"), "nothing moves the cursor"


def test_answers_go_to_files_and_programs_and_statements_come_from_them(sql, tmp_path):
    (tmp_path / "inner.sql").write_text("SELECT 'inner' AS x;\n")
    (tmp_path / "all.sql").write_text("SELECT 'outer' AS x;\n\\i inner.sql\nSELECT 'last' AS x\n")
    assert sql("", "-f", "all.sql")[0] == "outer\ninner\nlast\n"
    assert sql("\\i all.sql\n")[0] == "outer\ninner\nlast\n"
    assert sql("\\o out.txt\nSELECT 1 AS a;\n\\o\nSELECT 2 AS a;\nSELECT 3 AS a \\g three.txt\n\\g\n\\o |tr a-z A-Z\n\\echo shouted 'twice over'\n")[0] \
        == "2\n3\nSHOUTED TWICE OVER\n"
    assert (tmp_path / "out.txt").read_text() == "1\n" and (tmp_path / "three.txt").read_text() == "3\n"
    assert sql("\\! echo from outside\n")[0] == "from outside\n"
    assert sql("", "-c", "SELECT 1; SELECT 2", "-c", "\\echo three")[0] == "1\n2\nthree\n"
    assert sql("", "-c", "SELECT nope", "-c", "SELECT 2", code=1)[0] == "", "the first error ends it"
    assert sql("SELECT 1;\nSELECT nope;\nSELECT 2;\n", code=1)[0] == "1\n"
    (tmp_path / "loop.sql").write_text("\\i loop.sql\n")
    assert "too deep" in sql("\\i loop.sql\n", code=1)[1] and "No such file" in sql("\\i missing.sql\n", code=1)[1]
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i s/one/two/ \"$1\"\n")
    editor.chmod(0o755)
    assert sql("SELECT 'one' AS x;\n\\e\n;\n", env={"EDITOR": str(editor)})[0] == "one\ntwo\n"
    assert sql("SELECT 5 AS v;\n\\watch 0.01 3\n")[0] == "5\n" * 4


def test_copy_takes_rows_out_and_in_at_the_shells_node_and_namespace(sql, tmp_path):
    out, err = sql("\\copy press to 'with blank.csv'\n\\copy (SELECT max(temperature) AS t FROM press) to t.ndjson\n"
                   "\\copy again from 'with blank.csv' csv header --types note:text\nSELECT count(*), sum(temperature) FROM again;\n"
                   "\\c other\n\\copy moved from 'with blank.csv'\n\\d\n", "--format", "csv")
    assert (tmp_path / "with blank.csv").read_bytes().startswith(b"time,device,temperature,note\r\n2026-11-21T00:00:00Z,p1,1.5,\r\n"), err
    assert (tmp_path / "t.ndjson").read_text() == '{"t":2.5}\n'
    assert "2,4\n" in out and "public,moved,table" in out
    assert sql("SELECT count(*) FROM moved", "-n", "other")[0] == "2\n"
    assert "\\copy TABLE" in sql("\\copy press\n", code=1)[1]
