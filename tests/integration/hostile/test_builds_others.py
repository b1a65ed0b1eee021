"""Attacks of a build on others: the host's and other builds' processes, memory, files and descriptors."""

from __future__ import annotations

from tests.integration.hostile.bastion import barred
from tests.integration.hostile.rows import attack


@attack("build-neighbour")
def test_a_build_reaches_nothing_of_a_build_beside_it() -> None:
    barred("neighbour")


@attack("build-processes")
def test_a_build_signals_counts_and_slows_no_process_of_the_host() -> None:
    barred("process")


@attack("build-ptrace")
def test_a_build_traces_nobody_and_reads_nobodys_memory() -> None:
    barred("ptrace")


@attack("build-shared-memory")
def test_a_build_shares_no_memory_and_no_queue_with_the_host() -> None:
    barred("memory of others")


@attack("build-host-files")
def test_a_build_finds_no_file_command_line_or_variable_of_the_host() -> None:
    barred("host's")


@attack("build-store")
def test_a_build_finds_no_store() -> None:
    barred("store")


@attack("build-layers")
def test_a_build_finds_no_layer_of_its_own_or_another_tree_beside_its_root() -> None:
    barred("layer")


@attack("build-descriptors")
def test_a_build_inherits_no_folder_and_no_socket() -> None:
    barred("descriptor")


@attack("build-bubblewrap")
def test_a_build_does_not_write_into_the_program_that_holds_it() -> None:
    barred("bubblewrap")
