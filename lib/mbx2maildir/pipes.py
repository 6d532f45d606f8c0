"""What goes through a pipe between us and a worker process: its length, then a pickle."""

import io
import os
import pickle

LENGTH = 8  # bytes of the length before each pickle
LARGEST = 1 << 30  # bytes of an answer
PIECE = 1 << 20
# What an answer may be made of, besides what needs no class.
CLASSES = {
    ("mbx2maildir.convert.source", "Found"),
    ("mbx2maildir.convert.existing", "NewSide"),
    ("mbx2maildir.convert.existing", "Message"),
    ("mbx2maildir.formats.keywords", "KeywordTable"),
}


def packed(value):
    data = pickle.dumps(value, 4)
    return len(data).to_bytes(LENGTH, "little") + data


def receive(pipe):
    """Errors: EOFError when the other side is gone."""
    return pickle.loads(exactly(pipe, int.from_bytes(exactly(pipe, LENGTH), "little")))


def exactly(pipe, size):
    data = bytearray()
    while len(data) < size:
        piece = os.read(pipe, min(PIECE, size - len(data)))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


class Answers(pickle.Unpickler):
    """Reads what a worker answered: plain values, and the few classes that tasks exchange."""

    def find_class(self, module, name):
        if (module, name) not in CLASSES:
            raise pickle.UnpicklingError("an answer with {}.{}".format(module, name))
        return super().find_class(module, name)


def whole(data):
    """Take the answers that are complete from the front of what was read (a bytearray) → list.
    Errors: those of an answer that is none."""
    answers = []
    while len(data) >= LENGTH:
        size = int.from_bytes(data[:LENGTH], "little")
        if size > LARGEST:
            raise ValueError("an answer of {} bytes".format(size))
        if len(data) < LENGTH + size:
            break
        answer = bytes(data[LENGTH : LENGTH + size])
        del data[: LENGTH + size]
        answers.append(Answers(io.BytesIO(answer)).load())
    return answers
