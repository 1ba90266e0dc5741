"""Looks, with pymongo, at what a network of ours has left in MongoDB after the supplies of
drive.mjs: collections and fields as docs/contract.md has them, and the log's chain of
hashes, computed anew from the stored texts.

   python look.py URI
"""

import datetime
import hashlib
import json
import sys
import time

import pymongo

POINT, DRIVER = "CP-JS-1", "D-JS-1"
STATES = {"ACTIVATED", "SUPPLYING", "OUT_OF_ORDER", "BROKEN", "DISCONNECTED"}
NUMBER, TEXT, TIME = (int, float), str, datetime.datetime


def check(what, ok):
    if not ok:
        raise SystemExit("not so: " + what)


def has(document, fields):
    for name, kind in fields.items():
        check(f"{name} in {document}", name in document and isinstance(document[name], kind))


def settled(db):
    """Lifecycle is stored before Central acknowledges, which is a little after the ticket."""
    for _ in range(100):
        sessions = list(db.sessions.find({"driver_id": DRIVER}).sort("granted_at"))
        if len(sessions) == 2 and all(s["status"] == "CLOSED" for s in sessions):
            return sessions
        time.sleep(0.1)
    raise SystemExit(f"there are no two closed sessions: {sessions}")


def look_at_points(db):
    point = db.charging_points.find_one({"_id": POINT})
    check(f"{POINT} is stored", point is not None)
    has(point, {"id": TEXT, "location": TEXT, "price": NUMBER, "price_eur_kwh": NUMBER, "state": TEXT, "updated_at": TIME})
    check("id and _id are one", point["id"] == POINT)
    check("the price of the registration", point["price"] == point["price_eur_kwh"] == 0.25 and point["location"] == "Alicante")
    check("the state", point["state"] in STATES)


def look_at_drivers(db):
    drivers = list(db.drivers.find())
    check(f"a driver: {drivers}", {"_id": DRIVER, "id": DRIVER, "name": DRIVER} in drivers)


def look_at_sessions(sessions):
    check("how they ended", [s["ticket"]["reason"] for s in sessions] == ["FINISHED", "STOP_BY_CENTRAL"])
    for s in sessions:
        has(s, {
            "id": TEXT, "driver_id": TEXT, "cp_id": TEXT, "status": TEXT, "price": NUMBER, "started_at": TIME, "ended_at": TIME,
            "total_kwh": NUMBER, "total_eur": NUMBER, "last": dict, "telemetry": list, "ticket": dict,
        })  # fmt: skip
        check("id and _id are one", s["id"] == s["_id"])
        check("who and where", (s["driver_id"], s["cp_id"]) == (DRIVER, POINT))
        check("the totals", (s["price"], s["total_kwh"], s["total_eur"]) == (0.25, 0.006, 0.0015))
        check("its times", s["started_at"] <= s["ended_at"])
        check("the curve ends with the last sample", s["telemetry"] and s["telemetry"][-1] == s["last"])
        ticket = s["ticket"]
        has(ticket, {"ticket_id": TEXT, "started_at": TIME, "ended_at": TIME, "revision": int, "digest": TEXT})
        check("the ticket", (ticket["total_kwh"], ticket["price"], ticket["total_eur"], ticket["revision"]) == (0.006, 0.25, 0.0015, 0))


def look_at_events(db, sessions):
    heads, digests, first = {}, {}, {}
    for commit in db.events.find().sort("position"):
        for part in commit["parts"]:
            stream, version, body = part["stream"], part["version"], part["body"].encode()
            last, before = heads.get(stream, (0, bytes(32)))
            check(f"the versions of {stream}", version == last + 1)
            name = stream.encode()
            made = hashlib.sha256(
                before + len(name).to_bytes(8, "big") + name + version.to_bytes(8, "big") + body
            ).digest()
            check(f"the chain of {stream} at {version}", bytes(part["prev"]) == before and bytes(part["hash"]) == made)
            events = json.loads(body)["events"]
            check("how many events a part has", len(events) == part["events"])
            heads[stream] = (version + len(events) - 1, made)
            first.setdefault(stream, events[0]["type"])
            digests.update((stream, made.hex()) for e in events if e["type"] == "TicketIssued")
    for s in sessions:
        check("a ticket's digest is that of its part", digests["session-" + s["id"]] == s["ticket"]["digest"])
    granted = {stream for stream, kind in first.items() if kind == "SupplyAuthorized"}
    stored = {"session-" + s["_id"] for s in db.sessions.find({}, {"_id": 1})}
    check("a document for each grant, and for no refusal", granted == stored)
    check("a session begins with its answer", {k for s, k in first.items() if s.startswith("session-")} <= {"SupplyAuthorized", "SupplyRefused"})
    return len(heads)


db = pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=10000).get_default_database("evcharging_db")
sessions = settled(db)
look_at_points(db)
look_at_drivers(db)
look_at_sessions(sessions)
streams = look_at_events(db, sessions)
print(f"pymongo {pymongo.version}: points, drivers and sessions as the contract has them, {streams} streams with a whole chain")
