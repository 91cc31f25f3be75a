"""Which instances outlive a test: those that a fixture of a wider scope, or an import, has created.

Each test may use the same identifiers, because the instances of a test are deleted after its teardown. An instance that
was created while a fixture of a module, a class, a package or the session was set up lives as long as that fixture.
"""

from __future__ import annotations


class Tenants:
    """The instances that were created, by the canonical bytes of their identifiers, and who created them."""

    def __init__(self) -> None:
        self._of_test: set[bytes] = set()
        self._of_fixtures: dict[object, set[bytes]] = {}
        self._settling: list[object] = [self]

    @property
    def wider(self) -> bool:
        """Whether instances that are created now outlive the test."""
        return bool(self._settling)

    def collected(self) -> None:
        """The test modules are imported: from now on, instances belong to tests or fixtures."""
        self._settling.clear()

    def enter(self, fixture: object) -> None:
        """From now on, instances belong to a fixture."""
        self._settling.append(fixture)

    def leave(self) -> None:
        """The fixture that was entered last is set up."""
        self._settling.pop()

    def add(self, created: frozenset[bytes]) -> None:
        """Note new instances."""
        if self._settling:
            self._of_fixtures.setdefault(self._settling[-1], set()).update(created)
            self._of_test -= created
        else:
            self._of_test |= created.difference(*self._of_fixtures.values())

    def of_test(self) -> set[bytes]:
        """Return the instances of the test that has ended, and forget them."""
        gone, self._of_test = self._of_test, set()
        return gone

    def of(self, fixture: object) -> set[bytes]:
        """Return the instances of a fixture that has ended, and forget them."""
        return self._of_fixtures.pop(fixture, set())
