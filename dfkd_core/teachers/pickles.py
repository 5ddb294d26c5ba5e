"""A pickle read as data: lists, dicts and numbers as they are, and notes of what would have been called.

Nothing is imported, looked up or called, whatever the file names, and nothing is made that the file does not hold.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MAX_OPCODES = 1_000_000  # a ResNet-34 with its optimizer has 50,000


class PickleError(ValueError):
    """Bytes that are no pickle, or one that does what no checkpoint does."""


@dataclass(frozen=True, slots=True)
class Name:
    """A class or a function, by its dotted name."""

    name: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies elsewhere in the file, by its persistent id."""

    id: Any


@dataclass(slots=True)
class Call:
    """What ``of`` would have been called with, and the state and the items that its result would have got."""

    of: Any
    arguments: Any
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


MAPPINGS = {"collections.OrderedDict", "collections.defaultdict"}
EMPTY: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": list,
}  # fmt: skip
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
KEYS = (str, int, float, bytes, type(None))  # that are hashed in no time, however a file nests them


def read_pickle(stream: BinaryIO, kept: list[Kept] | None = None) -> Any:
    """The value of the pickle that begins here; ``stream`` stands behind it afterwards. ``kept`` gets what lies
    elsewhere. Raises ``PickleError``."""
    machine = _Machine([] if kept is None else kept)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_OPCODES:
                raise PickleError(f"it has more than {MAX_OPCODES:,} parts")
            machine.do(opcode.name, argument)
        return machine.stack.pop()
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, SyntaxError) as error:
        raise error if isinstance(error, PickleError) else PickleError("it is no pickle, or a damaged one") from None


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, kept: list[Kept]) -> None:
        self.kept = kept
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def do(self, opcode: str, argument: Any) -> None:
        push, pop = self.stack.append, self.stack.pop
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marks.append(len(self.stack))
            case "POP" if self.marks and self.marks[-1] == len(self.stack):
                self.marks.pop()
            case "POP":
                pop()
            case "POP_MARK":
                self._marked()
            case "DUP":
                push(self.stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(reversed([pop() for _ in range(int(opcode[-1]))])))
            case "TUPLE" | "FROZENSET":
                push(tuple(self._marked()))
            case "LIST":
                push(self._marked())
            case "DICT":
                values = self._marked()
                push({})
                self._set(values)
            case "APPEND":
                self._extend([pop()])
            case "APPENDS" | "ADDITEMS":
                self._extend(self._marked())
            case "SETITEM":
                value, key = pop(), pop()
                self._set([key, value])
            case "SETITEMS":
                self._set(self._marked())
            case "BINPERSID":
                self.kept.append(Kept(pop()))
                push(self.kept[-1])
            case _ if opcode in VALUES:
                push(argument)
            case _ if opcode in EMPTY:
                push(EMPTY[opcode]())
            case _:
                self._note(opcode, argument)

    def _note(self, opcode: str, argument: Any) -> None:
        """What an unpickler would look up or call."""
        push, pop = self.stack.append, self.stack.pop
        match opcode:
            case "GLOBAL":
                push(Name(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                name, module = pop(), pop()
                push(Name(".".join((module, name))))  # text only: what is nested might be endless when written out
            case "REDUCE" | "NEWOBJ":
                arguments, of = pop(), pop()
                push({} if isinstance(of, Name) and of.name in MAPPINGS else Call(of, arguments))
                for pairs in arguments if self.stack[-1] == {} else ():
                    self._set([part for pair in pairs for part in pair] if isinstance(pairs, list) else [])
            case "NEWOBJ_EX":
                pop()
                arguments, of = pop(), pop()
                push(Call(of, arguments))
            case "INST":
                push(Call(Name(argument.replace(" ", ".")), self._marked()))
            case "OBJ":
                of, *arguments = self._marked()
                push(Call(of, arguments))
            case "BUILD":
                state = pop()
                if isinstance(self.stack[-1], Call):
                    self.stack[-1].state = state
            case _:
                raise PickleError(f"it uses {opcode}, which no checkpoint does")

    def _marked(self) -> list[Any]:
        at = self.marks.pop()
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def _extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1] += values

    def _set(self, values: list[Any]) -> None:
        top = self.stack[-1]
        items = top.items if isinstance(top, Call) else top
        if isinstance(items, dict):
            pairs = zip(values[::2], values[1::2], strict=True)
            items.update((key, value) for key, value in pairs if isinstance(key, KEYS))
