"""The tar of a release: it runs where nothing of it is installed, also without /proc, as in a bare chroot."""
import os
import subprocess

import pytest

from conftest import ROOT


@pytest.fixture(name="built", scope="module")
def built_fixture(tmp_path_factory):
    """The programs without optimisation, which takes a third of a release build's time: what is tried is the packing. Niced: it
    is the largest piece of work among tests that watch the time."""
    folder = str(tmp_path_factory.mktemp("pack") / "built")
    subprocess.run(["meson", "setup", folder, ROOT, "-Doptimization=0", "-Ddebug=false", "-Dunit_tests=false"], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(["nice", "ninja", "--quiet", "-C", folder], check=True)
    return folder


@pytest.mark.timeout(400)
def test_the_tar_of_a_release_runs_without_anything_installed(built, tmp_path):
    packed = subprocess.run([os.path.join(ROOT, "tools", "pack.sh"), built], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[0]
    away = os.path.realpath(tmp_path)
    subprocess.run(["tar", "xzf", packed, "--strip-components=1", "-C", away], check=True)
    bare = dict(PATH=os.environ["PATH"])
    told = subprocess.run([os.path.join(away, "millrace"), "version"], env=bare, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert told.startswith("millrace ")
    libraries = subprocess.run(["ldd", os.path.join(away, "millrace-program")], env=bare, check=True, stdout=subprocess.PIPE,
                               text=True).stdout
    assert away + "/lib/libcrypto" in libraries, libraries
    if os.geteuid() == 0:
        without_proc = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /proc && cd / && exec \"$0\" version"]
        bare["LD_DEBUG"] = "libs"
        told = subprocess.run([*without_proc, os.path.join(away, "millrace")], env=bare, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=True)
        assert told.stdout.startswith("millrace ") and "calling init: " + away + "/lib/libcrypto" in told.stderr
