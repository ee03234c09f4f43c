"""The families: one file each, a text in the grammar that `grammar.py` reads."""

import importlib

NAMES = ["keys", "string", "bitmap", "hyperloglog", "hash", "list", "set", "zset", "geo", "stream"]


def text_of(name):
    return importlib.import_module(f"families.{name}").COMMANDS
