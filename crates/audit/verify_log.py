#!/usr/bin/env python3
"""Verifies an exported audit log. A second implementation, of the standard library only, beside the crate `audit`.

    python3 verify_log.py KEY FILE...

KEY is the verifier key of the log, as `guest-gateway audit key` prints it. The FILEs are one export, or the segments of
a log's folder in the order of their names. Exit code 0 if all entries are proved, 1 if not, with the first fault.

- RFC 6962 section 2.1: a leaf is SHA-256(0x00, entry), a node SHA-256(0x01, left, right).
- C2SP tlog-checkpoint: a note signs the size and the root over all entries above its line.
- RFC 8032 section 5.1.7: Ed25519, here without protection against timing, as all of it is public.
"""
import base64
import hashlib
import json
import sys

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
BASE_Y = 4 * pow(5, -1, P) % P


def recover_x(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_1 % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        raise ValueError("not a point of the curve")
    return P - x if x % 2 != sign else x


def add(p, q):  # extended coordinates: x = X/Z, y = Y/Z, x*y = T/Z
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(number, point):
    product = (0, 1, 1, 0)
    while number:
        if number & 1:
            product = add(product, point)
        point, number = add(point, point), number >> 1
    return product


def decode_point(encoded):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    x = recover_x(y, sign)
    return x, y, 1, x * y % P


def is_signed(public, message, signature):
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= ORDER:
        return False
    try:
        r, key = decode_point(signature[:32]), decode_point(public)
    except ValueError:
        return False
    x = recover_x(BASE_Y, 0)
    left = multiply(s, (x, BASE_Y, 1, x * BASE_Y % P))
    hashed = hashlib.sha512(signature[:32] + public + message).digest()
    right = add(r, multiply(int.from_bytes(hashed, "little") % ORDER, key))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def read_key(text):
    name, key_id, encoded = text.split("+", 2)
    typed = base64.b64decode(encoded, validate=True)
    if typed[0] != 1 or len(typed) != 33 or sha256(name.encode(), b"\n", typed)[:4].hex() != key_id:
        raise ValueError("not the verifier key of a log")
    return name, bytes.fromhex(key_id), typed[1:]


def open_checkpoint(note, key):
    """The size and the root that the key signed."""
    name, key_id, public = key
    text, signatures = note.rsplit("\n\n", 1)
    for line in signatures.splitlines():
        _, signer, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        if signer == name and signature[:4] == key_id and is_signed(public, text.encode() + b"\n", signature[4:]):
            origin, size, root = text.split("\n")[:3]
            if origin == name:
                return int(size), base64.b64decode(root, validate=True)
    raise ValueError("the checkpoint is not signed by this key")


def verify(lines, key):
    """The number of entries, all of them proved. The roots of the perfect subtrees are kept, largest first."""
    subtrees, size, covered = [], 0, None
    for number, line in enumerate(lines, 1):
        try:
            parsed = json.loads(line)
            if "checkpoint" in parsed:
                root = subtrees[-1] if subtrees else sha256()
                for left in reversed(subtrees[:-1]):
                    root = sha256(b"\1", left, root)
                if open_checkpoint(parsed["checkpoint"], key) != (size, root):
                    raise ValueError("the checkpoint does not match the entries above it")
                covered = size
                continue
            leaf = sha256(b"\0", line.split(b'","entry":', 1)[1][:-1])
            if base64.b64decode(parsed["leaf"], validate=True) != leaf:
                raise ValueError(f"entry {size} was altered")
            if (parsed["entry"]["log"], parsed["entry"]["seq"]) != (key[0], size):
                raise ValueError(f"not entry {size} of {key[0]}")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            sys.exit(f"line {number}: {error}")
        for _ in range((size ^ (size + 1)).bit_length() - 1):
            leaf = sha256(b"\1", subtrees.pop(), leaf)
        subtrees.append(leaf)
        size += 1
    if covered != size:  # None without a checkpoint, so that an empty file is not proved
        sys.exit(f"no checkpoint proves the entries from {covered or 0} on: the end of the log is missing")
    return size


def read_lines(paths):
    for path in paths:
        with open(path, "rb") as file:
            for number, line in enumerate(file):
                line = line.removeprefix(b"\xef\xbb\xbf" if number == 0 else b"").rstrip(b"\r\n")
                if line.strip(b"\0"):  # zeroes are the room of a segment for later lines
                    yield line


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1].count("+") < 2:
        sys.exit("usage: verify_log.py KEY FILE..., with the key as `guest-gateway audit key` prints it")
    print(f"{verify(read_lines(sys.argv[2:]), read_key(sys.argv[1]))} entries verified")
