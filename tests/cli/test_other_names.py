"""Flags of other programs lead to ours: every one that is named exists in some command."""

from importlib import import_module

import pytest

from cli import COMMANDS
from cli.other_names import FLAGS, ours
from cli.parser import Parser


def test_every_flag_named_is_a_flag_of_some_command() -> None:
    known: set[str] = set()
    for name in COMMANDS:
        parser = Parser()
        import_module(f"cli.{name}_command").add_to(parser)
        known |= parser._option_string_actions.keys()
    assert {name for names in FLAGS.values() for name in names} <= known


def test_only_what_a_command_has_is_named() -> None:
    assert ours("--seq-len", {"--sequence-length"}) == ("--sequence-length",)
    assert ours("--seq-len", {"--context", "--model"}) == ("--context",)
    assert ours("--what", {"--context"}) == ()


@pytest.mark.parametrize("flag", ["--gpu", "--model", "--weights-dtype"])
def test_our_own_flags_are_no_one_elses(flag: str) -> None:
    assert flag not in FLAGS
