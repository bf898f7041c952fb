"""
Frames and await chains as elements of a recording's stacks.

Traps, each met in real programs
- ``Task.get_stack()`` of a suspended task gives its outermost frame only. The chain is ``cr_await``,
  ``gi_yieldfrom`` or ``ag_await``, link by link.
- A fifth of real chains are broken by an object that has none of these: the ``asend`` of an async generator,
  ``coroutine_wrapper``, ``anext_awaitable``, Cython's. What they hold is found by ``gc.get_referents``.
- Cython's coroutines have ``cr_await`` and a ``__qualname__``, but no code object that tells anything.
- SQLAlchemy runs its synchronous half in a greenlet, to which the coroutine of ``greenlet_spawn`` refers: its
  frames belong between that coroutine and what it awaits.
"""

from __future__ import annotations

import gc
from types import (
    AsyncGeneratorType,
    CoroutineType,
    FrameType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
from typing import Any

from fgtrace._model.values import FrameName
from fgtrace._recording.recording import OFFSET_BITS, Recording

__all__ = ["Walker", "is_running"]

#: Links that are followed at most: no real chain has as many, but a chain that is a circle has.
LONGEST_CHAIN = 2000

#: The attributes that have the frame and the next link, and whether the type is a compiler's own (Cython's).
_Kind = tuple[str, str, bool]
_NAMES = (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom"))
_PYTHONS_OWN: dict[type, _Kind] = {
    CoroutineType: ("cr_frame", "cr_await", False),
    GeneratorType: ("gi_frame", "gi_yieldfrom", False),
    AsyncGeneratorType: ("ag_frame", "ag_await", False),
}
_OPAQUE: _Kind = ("", "", False)
_END: _Kind = ("", "", True)
_RUNNING = ("cr_running", "gi_running", "ag_running")


def is_running(coro: Any) -> bool:
    """
    Return whether a coroutine, of whichever kind, is on a thread's stack just now.
    """
    if type(coro) is CoroutineType:
        return coro.cr_running
    kind = type(coro)
    return any(getattr(coro, name) for name in _RUNNING if hasattr(kind, name))


class Walker:
    """
    Turn frames and await chains into elements of stacks, and note functions that are first seen.

    Args:
        recording: has the table of functions; see `fgtrace._recording.recording` for an element.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._ids = recording.code_ids
        self._kinds = dict(_PYTHONS_OWN)
        self._spawners: set[int] = set()

    def element(self, frame: FrameType) -> int:
        """
        Return the element of one frame.
        """
        code = frame.f_code
        index = self._ids.get(id(code))
        if index is None:
            index = self._recording.intern_code(code, frame.f_globals.get("__name__"))
            if code.co_name == "greenlet_spawn":
                self._spawners.add(index)
        offset = frame.f_lasti
        return index << OFFSET_BITS | max(offset, 0)  # it is -1 before the first instruction

    def frames(self, frame: FrameType | None, root: FrameType | None = None) -> list[int]:
        """
        Return the elements of a frame and its callers, leaf first.

        Args:
            frame: the leaf.
            root: the last frame to include; None: all callers. If it is not among them, the result is empty.
        """
        found = []
        ids, element = self._ids, self.element
        while frame is not None:
            index = ids.get(id(frame.f_code))
            offset = frame.f_lasti
            found.append(element(frame) if index is None or offset < 0 else index << OFFSET_BITS | offset)
            if frame is root:
                return found
            frame = frame.f_back
        return found if root is None else []

    def chain(self, coro: Any) -> tuple[list[int], Any]:
        """
        Walk what a suspended coroutine awaits, link by link.

        Returns:
            The elements, leaf first, and the innermost coroutine.
        """
        found: list[int] = []
        leaf = link = coro
        ids = self._ids
        for _ in range(LONGEST_CHAIN):
            if type(link) is CoroutineType and not self._spawners:  # true of nearly all: the fast way
                frame = link.cr_frame
                if frame is None:
                    break
                index, offset, leaf = ids.get(id(frame.f_code)), frame.f_lasti, link
                if index is None or offset < 0:
                    found.append(self.element(frame))
                else:
                    found.append(index << OFFSET_BITS | offset)
                link = link.cr_await
            elif link is None:
                break
            else:
                link, leaf = self._follow(link, leaf, found)
        found.reverse()
        return found, leaf

    def _follow(self, link: Any, leaf: Any, found: list[int]) -> tuple[Any, Any]:
        """
        Append the element of a link of any kind, and return the next link and the innermost coroutine so far.
        """
        kind = self._kinds.get(type(link)) or self._find_kind(link)
        if kind is _OPAQUE or kind is _END:
            return (_link_inside(link) if kind is _OPAQUE else None), leaf
        frame = getattr(link, kind[0], None)
        if kind[2]:
            found.append(self._compiled_element(link, frame))
        elif frame is None:  # it has ended
            return None, link
        else:
            found.append(self.element(frame))
            if found[-1] >> OFFSET_BITS in self._spawners:
                found.extend(self._greenlet_frames(link))
        return getattr(link, kind[1]), link

    def _find_kind(self, link: Any) -> _Kind:
        """
        Return how to follow a link of this type, which is found out when the type is first seen.
        """
        type_ = type(link)
        kind = _OPAQUE
        if type_.__name__ == "FutureIter" or hasattr(type_, "_asyncio_future_blocking"):
            kind = _END
        elif names := next((names for names in _NAMES if _has_c_attribute(type_, names[1])), None):
            kind = (*names, True)
        self._kinds[type_] = kind
        return kind

    def _greenlet_frames(self, coro: Any) -> list[int]:
        """
        Return the frames of the greenlet that a coroutine drives, outermost first.
        """
        for held in gc.get_referents(coro):
            frame = getattr(held, "gr_frame", None) if hasattr(type(held), "gr_frame") else None
            if frame is not None:
                return self.frames(frame)[::-1]
        return []

    def _compiled_element(self, coro: Any, frame: Any) -> int:
        """
        Return the element of a coroutine that has no code object of Python: Cython's.
        """
        qualname = getattr(coro, "__qualname__", "")
        module = getattr(coro, "__module__", "")  # of Cython 3.1 and newer; older ones give the type's
        if type(module) is not str or module == type(coro).__module__:
            module = frame.f_globals.get("__name__", "") if isinstance(frame, FrameType) else ""
        code = getattr(coro, "cr_code", None)
        file = code.co_filename if code is not None else ""
        name = FrameName(module if type(module) is str else "", qualname if type(qualname) is str else "")
        return self._recording.intern_name(name, file) << OFFSET_BITS


def _is_link(kind: type) -> bool:
    return any(_has_c_attribute(kind, names[1]) for names in _NAMES)


def _has_c_attribute(kind: type, name: str) -> bool:
    """
    Return whether a type has an attribute that is made in C: a property would be code of the program.
    """
    return type(getattr(kind, name, None)) in (MemberDescriptorType, GetSetDescriptorType)


def _link_inside(link: Any) -> Any:
    """
    Return the coroutine that an opaque awaitable holds, or None at the end of the chain.

    An awaitable may hold another opaque one first: ``anext`` with a default holds an ``asend``.
    """
    held = gc.get_referents(link)
    for each in tuple(held):  # an awaitable of the program's own has its attributes in a dict
        if type(each) is dict:
            held.extend(each.values())
    for each in held:
        if _is_link(type(each)):
            return each
    return next((each for each in held if hasattr(type(each), "throw")), None)
