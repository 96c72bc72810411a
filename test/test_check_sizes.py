"""Claims about tools/check_sizes.py."""
import os
import subprocess

SCRIPT = os.path.join(os.path.dirname(__file__), "..", "tools", "check_sizes.py")


def check(tmp_path, text):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.c").write_text(text)
    done = subprocess.run(["/usr/bin/python3", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


def function(name, lines):
    return f"int {name}(int a)\n{{\n" + "    a++;\n" * (lines - 2) + "}\n"


def test_limits_are_met_exactly(tmp_path):
    status, output = check(tmp_path, function("fits", 60) + function("long", 61) + function("at_limit", 100))
    assert status == 0 and "long has 61" in output and "at_limit has 100" in output and "fits" not in output


def test_a_function_over_the_limit_fails_with_name_and_line(tmp_path):
    status, output = check(tmp_path, "struct s { int a; };\n" + function("too_long", 101))
    assert status == 1 and "src/a.c:3: too_long has 101 lines" in output


def test_a_loop_over_a_table_that_says_so_may_be_longer(tmp_path):
    status, _ = check(tmp_path, "/* A dispatch over a table. */\n" + function("run", 150))
    assert status == 0


def test_the_words_excuse_no_other_function(tmp_path):
    status, output = check(tmp_path, "/* A dispatch over a table. */\n" + function("run", 150) + function("other", 150))
    assert status == 1 and "other has 150" in output and "run has" not in output


def test_tables_macros_and_braces_in_text_are_no_functions(tmp_path):
    status, output = check(tmp_path, "static const struct row rows[] = {\n" + '    {"{", \'{\'},\n' * 200 + "};\n"
                           "#define M(a) \\\n    do { \\\n    } while (0)\n/* { */\n" + function("f", 5))
    assert status == 0 and "0 warnings" in output


def test_a_file_over_the_limit_fails(tmp_path):
    status, output = check(tmp_path, "\n" * 1001)
    assert status == 1 and "1001 lines" in output
