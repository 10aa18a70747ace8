"""The edge contract's assertions are rewritten like those of a test file."""

import pytest

pytest.register_assert_rewrite("edge_contract")
