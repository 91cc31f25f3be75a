"""Support for test suites of programs that use this library: learn models from a test run, and mock instances.

::

    with spex_shards.testing.prepare_for_test_suite(impl_models_dir="spex_impl_models"):
        run_the_tests()

With pytest, the plugin does this; ``docs/testing.md`` shows both. `state_machine` lets Hypothesis drive an object along
its specification, and off it.
"""

from __future__ import annotations

from ..facade import mock_instance
from .driving import state_machine
from .suite import prepare_for_test_suite

__all__ = ["mock_instance", "prepare_for_test_suite", "state_machine"]
