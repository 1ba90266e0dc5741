#!/usr/bin/env python3
"""Checks proofs of bills: check.py KEYS PROOF...

Written from docs/proof.md with the standard library alone. KEYS is a file like network.pub. It
prints for each proof "ok" or "bad: REASON", and exits with 1 where one is bad.
"""
import base64
import hashlib
import json
import re
import sys
import uuid

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SESSIONS = uuid.UUID("6f0d2b8e-54f1-5a0c-9d53-2f1c6a7be0a4")
FIELDS = ["format", "network", "session", "bill", "parts", "leaf", "path", "note"]
BILL = ["ticket", "revision", "point", "driver", "started_at", "ended_at", "energy_mwh",
        "price_micro_eur_kwh", "amount_micro_eur", "reason", "digest"]

USAGE = "usage: check.py KEYS PROOF..."


def need(true, reason):
    if not true:
        raise ValueError(reason)


def add(a, b):  # Ed25519 (RFC 8032), with points as (X, Y, Z, T)
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, a):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, a)
        a, n = add(a, a), n >> 1
    return result


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    need(y < P and (x * x - x2) % P == 0, "the key is no point")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def compress(a):
    z = pow(a[2], P - 2, P)
    return (a[1] * z % P | (a[0] * z % P & 1) << 255).to_bytes(32, "little")


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(public, message, signature):
    s = int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    x, y, z, t = times(k, decompress(public))
    return len(signature) == 64 and s < L and compress(add(times(s, BASE), (-x % P, y, z, -t % P))) == signature[:32]


def decode64(text):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "not as base64 is written")
    return data


def read_keys(file):
    keys = {}
    for line in open(file, encoding="utf-8").read().split("\n"):
        if line.strip() and not line.startswith("#"):
            name, number, data = line.strip().split("+", 2)
            data = decode64(data)
            need(data[0] == 1 and hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8] == number, "not a key")
            keys[name, bytes.fromhex(number)] = data[1:]
    return keys


def open_note(note, keys):
    """Gives the lines of a checkpoint, once its one signature is seen to be a known key's."""
    text, signatures = note[:note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2:]
    match = re.fullmatch("\u2014 ([^ +\n]+) ([^ \n]+)\n", signatures)
    need(match, "not a note with one signature")
    data = decode64(match[2])
    need((match[1], data[:4]) in keys, "not signed by a key that counts")
    need(signed(keys[match[1], data[:4]], text.encode(), data[4:]), "the signature is wrong")
    lines = text.split("\n")
    need(len(lines) == 8 and lines[0] == "evcharging checkpoint 1" and lines[7] == "", "not a checkpoint")
    return lines


def climb(leaf, index, size, path):
    """The root of a tree of so many leaves (RFC 6962, RFC 9162 section 2.1.3.2)."""
    need(0 <= index < size, "the leaf is not in the tree")
    last, node = size - 1, hashlib.sha256(b"\0" + leaf).digest()
    for other in path:
        need(last, "the path is too long")
        if index & 1 or index == last:
            node = hashlib.sha256(b"\1" + other + node).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + other).digest()
        index, last = index >> 1, last >> 1
    need(last == 0, "the path is too short")
    return node


def bill_of(session, parts, hashes):
    """Computes the bill anew from the events, and holds each ticket of the log against it."""
    cost = lambda energy: (energy * price + 500000) // 1000000
    price = granted = last = started = bill = None
    measured, cause, decided, due = 0, "", 0, 0
    for part, digest in zip(parts, hashes):
        at, done = part["at"], None
        when = lambda t, source: t if granted <= t <= source["timestamp"] else max(source["timestamp"], granted)
        for event in part["events"]:
            kind, e = event["type"], event["data"]
            need(event["v"] == 1 and (kind == "SupplyAuthorized") == (granted is None), "unknown events")
            if kind == "SupplyAuthorized":
                price, granted, due, who = e["price"], at, e["due"], e
            elif kind == "SupplyStarted":
                started = e["at"]
            elif kind == "MeterValueRecorded":
                last, measured = e, e["measured"]
            elif kind == "EndDecided":
                need(e["cause"] != "EXPIRED" or last is None and at >= due, "it did not expire")
                cause, decided, due = e["cause"], at, e["due"]
            elif kind == "SupplyEnded":
                done = e
                need(e["at"] == when(e["at"], e["source"]), "the final report's time can't be")
            elif kind == "TicketIssued":
                need(bill is None and (done or cause and at >= due), "nothing asks for a ticket")
                if done:
                    energy, end, reason = max(measured, done["energy_reported"]), done["at"], cause or done["reason"]
                elif cause == "EXPIRED" or not last:
                    energy, end, reason = 0, decided, cause
                else:
                    energy, end, reason = last["energy"], last["at"], cause
                start = started if last else granted
                bill = dict(zip(BILL, [str(uuid.uuid5(SESSIONS, "ticket\n" + session)), 0, who["point"], who["driver"],
                                       start, max(start, end), energy, price, cost(energy), reason, digest.hex()]))
                need([e["ticket"], e["started_at"], e["ended_at"], e["energy"], e["price"], e["amount"], e["reason"]]
                     == [bill["ticket"]] + list(bill.values())[4:10], "the ticket does not follow")
            elif kind == "TicketRevised":
                need(bill and e["energy_after"] > bill["energy_mwh"], "nothing to revise")
                before, after = bill["amount_micro_eur"], cost(e["energy_after"])
                end = max(when(e["ended_at"], e["source"]), bill["ended_at"])
                need([e["revision"], e["energy_before"], e["amount_before"], e["amount_after"], e["amount_difference"], e["ended_at"]]
                     == [bill["revision"] + 1, bill["energy_mwh"], before, after, after - before, end], "the revision does not follow")
                bill.update(revision=e["revision"], energy_mwh=e["energy_after"], amount_micro_eur=after, ended_at=end, digest=digest.hex())
            else:
                need(False, "unknown events")
        need(not done or bill, "a final report without a ticket")
    return bill


def check(data, keys):
    proof = json.loads(data.decode())
    need(json.dumps(proof, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" == data, "not as it was exported")
    need(list(proof) == FIELDS and proof["format"] == "evcharging proof 1" and type(proof["leaf"]) is int, "not a proof")
    _, network, _, _, heads, root, _, _ = open_note(proof["note"], keys)
    need(network == proof["network"], "of another network")
    stream, version, node, hashes, parts = "session-" + proof["session"], 1, bytes(32), [], []
    for body in proof["parts"]:
        place = len(stream).to_bytes(8, "big") + stream.encode() + version.to_bytes(8, "big")
        node = hashlib.sha256(node + place + body.encode()).digest()
        hashes.append(node)
        parts.append(json.loads(body))
        version += len(parts[-1]["events"])
    leaf = f"{stream} {version - 1} {node.hex()}\n".encode()
    need(climb(leaf, proof["leaf"], int(heads), [decode64(h) for h in proof["path"]]) == decode64(root), "not what was signed")
    bill = bill_of(proof["session"], parts, hashes)
    need(json.dumps(bill) == json.dumps(proof["bill"]), "the bill does not follow")  # 0 is not 0.0, nor false


def main(key_file, *files):
    try:
        keys, bad = read_keys(key_file), 0
    except (OSError, ValueError, IndexError) as e:
        return f"{key_file} is no file of keys: {e}\n{USAGE}"
    for file in files:
        try:
            check(open(file, "rb").read(), keys)
            print("ok")
        except Exception as e:  # whatever is wrong with it, it is no proof
            print("bad:", repr(e))
            bad = 1
    return bad


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(USAGE)
    sys.exit(main(*sys.argv[1:]))
