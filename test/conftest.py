"""Fixtures and options that all of test/ shares."""


def pytest_addoption(parser):
    parser.addoption("--select", action="append", default=[], help="run only tests whose id contains this (repeatable)")


def pytest_collection_modifyitems(config, items):
    names = config.getoption("--select")
    if names:
        items[:] = [item for item in items if any(name in item.nodeid for name in names)]
