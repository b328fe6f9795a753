#!/usr/bin/env python3
"""Verifies evidence of a Mingzhang ledger offline, from nothing but its genesis file.

Written from docs/PROTOCOL.md with Python's standard library and `cryptography`; it shares no code with the ledger.

    verify.py GENESIS receipt FILE [HANDOFFS]     a .tlog-proof
    verify.py GENESIS trail FILE [HANDOFFS]       a complete trail {sealed, trail, next_cursor}
    verify.py GENESIS bundle FILE                 an evidence bundle, which carries its hand-offs

Exit status: 0 verified, 1 failed, 2 cannot conclude, 77 `cryptography` is not installed.
"""

import base64
import hashlib
import json
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    print("skipped: Python module `cryptography` is not installed")
    sys.exit(77)

# Consensus parameters that a genesis file may leave out. Times in milliseconds, sizes in bytes.
DEFAULTS = {
    "min_block_interval": 100, "max_block_records": 5000, "max_block_bytes": 2097152, "max_batch_records": 1024,
    "max_batch_bytes": 262144, "turn_timeout": 1700, "turn_timeout_min": 300, "turn_timeout_max": 30000,
    "merge_delay": 60000, "time_precision": 500, "time_delay": 2000, "confirm_wait": 1000,
    "min_empty_interval": 1000, "heartbeat": 3600000, "max_unfinal": 16, "seal_interval": 500,
}


class Failed(Exception):
    """The evidence does not hold."""


class Inconclusive(Exception):
    """Something is missing."""


def demand(condition, reason):
    if not condition:
        raise Failed(reason)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf_hash(entry):
    return sha256(b"\x00", entry)


def node_hash(left, right):
    return sha256(b"\x01", left, right)


def signature_holds(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


def from_base64(text):
    demand(isinstance(text, str), "not base64")
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Failed("not base64") from None
    demand(base64.b64encode(raw).decode() == text, "base64 that is not canonical")
    return raw


# --- trees ---


def root_of(hashes):
    """RFC 6962 section 2.1, by definition."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node_hash(root_of(hashes[:split]), root_of(hashes[split:]))


def check_inclusion(leaf, index, size, path, root):
    """RFC 9162 section 2.1.3.2."""
    demand(0 <= index < size, "index is not below the size")
    position, last, node = index, size - 1, leaf
    for sibling in path:
        demand(last != 0, "path too long")
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    demand(last == 0, "path too short")
    demand(node == root, "the path does not reach the root")


def check_consistency(old, new, old_root, new_root, path):
    """RFC 9162 section 2.1.4.2, for 0 < old < new."""
    demand(0 < old < new, "sizes of the consistency proof")
    path = list(path)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    demand(path, "consistency proof too short")
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_node = new_node = path[0]
    for sibling in path[1:]:
        demand(last != 0, "consistency proof too long")
        if position & 1 or position == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        position, last = position >> 1, last >> 1
    demand(last == 0, "consistency proof too short")
    demand(old_node == old_root and new_node == new_root, "the older log is no part of the newer")


# --- deterministic CBOR ---


def encode_head(major, number):
    for width, extra in ((0, None), (1, 24), (2, 25), (4, 26), (8, 27)):
        if width == 0 and number < 24:
            return bytes([major << 5 | number])
        if width and number < 1 << (8 * width):
            return bytes([major << 5 | extra]) + number.to_bytes(width, "big")
    raise Failed("number too large")


def encode(value):
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return encode_head(0, value) if value >= 0 else encode_head(1, -1 - value)
    if isinstance(value, bytes):
        return encode_head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return encode_head(3, len(raw)) + raw
    if isinstance(value, list):
        return encode_head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        pairs = sorted((encode(key), encode(item)) for key, item in value.items())
        return encode_head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    raise Failed("value of a kind that is not allowed")


def read_head(data, at):
    demand(at < len(data), "CBOR ends early")
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if info < 24:
        return major, info, at
    demand(info in (24, 25, 26, 27), "CBOR of a kind that is not allowed")
    width = 1 << (info - 24)
    demand(at + width <= len(data), "CBOR ends early")
    return major, int.from_bytes(data[at:at + width], "big"), at + width


def read_value(data, at):
    if at < len(data) and data[at] in (0xF4, 0xF5, 0xF6):
        return {0xF4: False, 0xF5: True, 0xF6: None}[data[at]], at + 1
    major, number, at = read_head(data, at)
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        demand(at + number <= len(data), "CBOR ends early")
        raw = data[at:at + number]
        return (raw if major == 2 else raw.decode()), at + number
    if major == 4:
        items = []
        for _ in range(number):
            item, at = read_value(data, at)
            items.append(item)
        return items, at
    demand(major == 5, "CBOR of a kind that is not allowed")
    pairs = {}
    for _ in range(number):
        key, at = read_value(data, at)
        pairs[key], at = read_value(data, at)
    return pairs, at


def decode(data):
    value, end = read_value(data, 0)
    demand(end == len(data), "bytes after the end")
    demand(encode(value) == data, "CBOR that is not canonical")
    return value


# --- genesis, sets, headers ---


def quorum(members):
    return -(-2 * members // 3)


class Genesis:
    def __init__(self, raw):
        document = json.loads(raw)
        demand(document["format"] == "mingzhang/genesis/v1", "genesis format")
        self.hash = sha256(raw)
        self.origin = document["name"] + "-" + self.hash.hex()[:16]
        members = []
        for agency in document["agencies"]:
            if agency.get("node"):
                node = agency["node"]
                keys = [bytes.fromhex(node[name]) for name in ("consensus_key", "sealing_key", "peer_key")]
                members.append([agency["id"], *keys, node["url"]])
        parameters = {**DEFAULTS, **document.get("consensus", {})}
        self.set = encode({1: 0, 2: parameters, 3: members})
        recovery = document.get("recovery", {"threshold": 0, "keys": []})
        self.recovery_threshold = recovery["threshold"]
        self.recovery_keys = [bytes.fromhex(held["key"]) for held in recovery["keys"]]


class Header:
    def __init__(self, raw):
        demand(len(raw) == 256 and raw[:2] == b"\x02\x01", "a header is 256 bytes of type 2, version 1")
        number = lambda at, width=8: int.from_bytes(raw[at:at + width], "big")
        self.raw = raw
        self.height, self.epoch, self.time_ms = number(2), number(10), number(36)
        self.first_index, self.entry_count = number(44), number(52, 4)
        self.state_root, self.set_hash, self.next_set_hash = raw[88:120], raw[184:216], raw[216:248]
        self.state_size = number(248)

    def own_index(self):
        return self.first_index + self.entry_count


# --- checkpoints and seals ---


def decimal(text):
    demand(text.isascii() and text.isdigit() and (text == "0" or text[0] != "0"), "number is not canonical")
    return int(text)


class Note:
    def __init__(self, text):
        demand(not any(ord(character) < 32 and character != "\n" for character in text), "control character")
        body, blank, signatures = text.rpartition("\n\n")
        demand(blank and signatures.endswith("\n"), "note without blank line or final newline")
        lines = body.split("\n")
        demand(len(lines) == 3, "a checkpoint has exactly three lines")
        self.origin, self.size, self.root = lines[0], decimal(lines[1]), from_base64(lines[2])
        demand(len(self.root) == 32, "root is not a hash")
        self.text = body + "\n"
        self.lines = []
        for line in signatures[:-1].split("\n"):
            parts = line.split(" ")
            demand(len(parts) == 3 and parts[0] == "\u2014" and parts[1], "malformed signature line")
            self.lines.append((parts[1], from_base64(parts[2])))

    def check(self, origin, set_document):
        """A quorum of distinct members; one bad signature of a known key spoils the note."""
        demand(self.origin == origin, "checkpoint of another network")
        demand(self.size > 0, "a checkpoint of size 0 seals nothing")
        host = origin.rpartition("-")[0].partition("/")[0]
        document = decode(set_document)
        known = {}
        for agency, _, sealing_key, _, _ in document[3]:
            name = "%s.%s/e%d" % (agency, host, document[1])
            known[name, sha256(name.encode(), b"\n\x04", sealing_key)[:4]] = (agency, sealing_key)
        sealed = set()
        for name, payload in self.lines:
            member = known.get((name, payload[:4]))
            if member is None:
                continue
            agency, key = member
            demand(agency not in sealed, agency + " seals twice")
            demand(len(payload) == 76, "a cosignature has 76 bytes")
            time_s = int.from_bytes(payload[4:12], "big")
            message = "cosignature/v1\ntime %d\n%s" % (time_s, self.text)
            demand(signature_holds(key, message.encode(), payload[12:]), "the seal of " + agency + " does not hold")
            sealed.add(agency)
        if 3 * len(sealed) < 2 * len(document[3]):
            epochs = [name.rpartition("/e")[2] for name, _ in self.lines if "." + host + "/e" in name]
            if any(epoch.isdigit() and int(epoch) > document[1] for epoch in epochs):
                raise Inconclusive("sealed by a later epoch: a hand-off is missing")
            raise Failed("%d seals, a quorum is %d" % (len(sealed), quorum(len(document[3]))))
        return sealed


class Chain:
    """Authority sets from genesis over hand-offs; the size of a checkpoint says which one decides it."""

    def __init__(self, genesis, handoffs):
        self.genesis, self.origin = genesis, genesis.origin
        self.sets = [(0, genesis.set)]
        self.opened_by = leaf_hash(b"\x00" + genesis.hash)
        self.discontinuities = []
        for handoff in handoffs:
            if "recovery" in handoff:
                self.recover(from_base64(handoff["recovery"]))
            else:
                self.hand_over(handoff)

    def hand_over(self, handoff):
        above, current = self.sets[-1]
        note = Note(handoff["checkpoint"])
        header = header_at_end(note, from_base64(handoff["header"]), handoff["path"])
        following = from_base64(handoff["set"])
        epoch = decode(current)[1]
        if header.epoch > epoch:
            raise Inconclusive("a hand-off is missing")
        demand(note.size > above, "boundary before the one that opened its epoch")
        demand(header.epoch == epoch and decode(following)[1] == epoch + 1, "hand-off of another epoch")
        demand(header.set_hash == sha256(current), "boundary decided by another set")
        demand(header.next_set_hash == sha256(following), "boundary names another next set")
        demand(header.next_set_hash != header.set_hash, "the block is no boundary")
        note.check(self.origin, current)
        self.sets.append((note.size, following))
        self.opened_by = leaf_hash(header.raw)

    def recover(self, raw):
        """A manifest of recovery keys opened the epoch; whoever verifies is told."""
        above, current = self.sets[-1]
        signed = decode(raw)
        manifest = decode(signed[1])
        header, following, epoch = Header(manifest[3]), manifest[4], decode(current)[1]
        if manifest[2] > epoch + 1:
            raise Inconclusive("a hand-off is missing")
        demand(manifest[1] == self.genesis.hash, "recovery manifest of another network")
        demand(manifest[2] == epoch + 1 == decode(following)[1], "recovery manifest of another epoch")
        decided = header.epoch == epoch and header.set_hash == sha256(current)
        base = leaf_hash(header.raw)
        demand(decided or base == self.opened_by, "base of another epoch")
        size = header.own_index() + 1
        demand(size >= above, "base before the block that opened its epoch")
        message = b"mingzhang/recovery/v1\0" + self.genesis.hash + sha256(signed[1])
        indices = [index for index, _ in signed[2]]
        demand(indices == sorted(set(indices)), "recovery keys out of order")
        for index, signature in signed[2]:
            demand(index < len(self.genesis.recovery_keys), "unknown recovery key")
            demand(signature_holds(self.genesis.recovery_keys[index], message, signature), "a recovery signature does not hold")
        demand(len(indices) >= self.genesis.recovery_threshold > 0, "too few recovery keys signed")
        self.sets.append((size, following))
        self.opened_by = base
        self.discontinuities.append("epoch %d opened after height %d by recovery manifest: %s"
                                    % (epoch + 1, header.height, manifest[5]))

    def told(self):
        return "".join("\n  DISCONTINUITY: " + told for told in self.discontinuities)

    def check_note(self, note):
        deciding = [document for above, document in self.sets if above < note.size or above == 0][-1]
        note.check(self.origin, deciding)
        return deciding

    def sealed_header(self, note, raw, path):
        deciding = self.check_note(note)
        header = header_at_end(note, raw, path)
        demand(header.set_hash == sha256(deciding), "header of another set")
        demand(header.epoch == decode(deciding)[1], "header of another epoch")
        return header


def header_at_end(note, raw, path):
    header = Header(raw)
    demand(header.own_index() + 1 == note.size, "the header does not fit the checkpoint")
    check_inclusion(leaf_hash(raw), note.size - 1, note.size, list(map(from_base64, path)), note.root)
    return header


# --- state, transactions, trails ---


def state_leaf(header, proof):
    leaf = from_base64(proof["leaf"])
    demand(len(leaf) >= 64, "a state leaf has at least 64 bytes")
    path = list(map(from_base64, proof["path"]))
    check_inclusion(leaf_hash(leaf), proof["index"], header.state_size, path, header.state_root)
    return leaf[:32], leaf[64:]


def presence(header, proof, key):
    found, value = state_leaf(header, proof)
    demand(found == key and any(key), "the leaf is that of another key")
    return decode(value)


class Transaction:
    def __init__(self, raw, origin):
        demand(raw[:2] == b"\xd2\x84", "not a tagged COSE_Sign1")
        protected, unprotected, payload, signature = decode(raw[1:])
        demand(unprotected == {}, "the unprotected header must be empty")
        header = decode(protected)
        demand(set(header) == {1, 3, 4} and header[1] == -8, "protected header")
        demand(header[3] == "application/vnd.mingzhang.record+cbor", "content type")
        fields = decode(payload)
        demand(set(fields) == {1, 2, 3, 4, 5, 6}, "payload keys")
        demand(fields[1] == origin, "a transaction of another network")
        self.id, self.key_id, self.agency, self.signature = sha256(raw), header[4], fields[4], signature
        self.record_type = fields[2]
        self.signed = encode(["Signature1", protected, b"", payload])

    def check_signature(self, agency, key):
        demand(sha256(key)[:16] == self.key_id, "the record names another key")
        demand(agency == self.agency, "the key belongs to another agency")
        demand(signature_holds(key, self.signed, self.signature), "the officer's signature does not hold")


def officer_keys(header, proofs):
    """Agency and key of every leaf `key/<key id>`: {0: agency, 2: public key, ...}."""
    keys = {}
    for proof in proofs:
        at, value = state_leaf(header, proof)
        if at == bytes(32):
            continue  # The sentinel has no value; it proves the absence of what follows it.
        current = decode(value).get(1)
        key = current.get(2) if isinstance(current, dict) else None
        if isinstance(key, bytes) and at == sha256(b"key/" + sha256(key)[:16].hex().encode()):
            keys[sha256(key)[:16]] = (current[0], key)
    return keys


def record(entry, origin):
    demand(entry[:1] == b"\x01" and len(entry) > 3, "the entry is no record")
    return int.from_bytes(entry[1:3], "big"), Transaction(entry[3:], origin)


def subject_key(kind, subject):
    prefix = {"programme": "record/", "account": "record/", "case": "record/", "tender": "record/",
              "dataset": "record/", "recipient": "recipient/", "officer": "key/", "registry": "registry/",
              "findings": "findings/"}
    demand(kind in prefix, "unknown kind of subject")
    return sha256((prefix[kind] + subject).encode())


def check_trail(chain, header, trail, keys):
    """All entries about a subject, none left out, none added, in order, each signed by a registered key."""
    value = presence(header, trail["state"], subject_key(trail["kind"], trail["id"]))
    demand(set(value) == {1, 2, 3}, "the subject has no trail")
    entries = [(item["index"], from_base64(item["entry"])) for item in trail["entries"]]
    demand(len(entries) == value[2] == trail["count"], "wrong number of entries")
    indices = [index for index, _ in entries]
    demand(all(a < b for a, b in zip(indices, indices[1:])), "indices do not ascend")
    demand(not indices or indices[-1] < header.own_index(), "an entry beyond the header")
    root = root_of([leaf_hash(index.to_bytes(8, "big") + leaf_hash(entry)) for index, entry in entries])
    demand(root == value[3] == from_base64(trail["root"]), "the entries lead to another root")
    unproven = False
    for index, entry in entries:
        if index == 0:
            demand(entry == b"\x00" + chain.genesis.hash, "the genesis entry of another network")
            continue
        _, transaction = record(entry, chain.origin)
        if transaction.key_id in keys:
            transaction.check_signature(*keys[transaction.key_id])
        else:
            unproven = True
    if unproven:
        raise Inconclusive("a signer's key is not proven")
    return len(entries)


# --- what the command line asks for ---


def check_receipt(chain, text, key_proof=None):
    head, blank, tail = text.partition("\n\n")
    demand(blank, "receipt without blank line")
    lines = head.split("\n")
    demand(len(lines) >= 3 and lines[0] == "c2sp.org/tlog-proof@v1", "not a tlog-proof")
    demand(lines[1].startswith("extra ") and lines[2].startswith("index "), "extra and index lines")
    entry, index = from_base64(lines[1][6:]), decimal(lines[2][6:])
    note = Note(tail)
    outcome, transaction = record(entry, chain.origin)
    check_inclusion(leaf_hash(entry), index, note.size, list(map(from_base64, lines[3:])), note.root)
    chain.check_note(note)
    if key_proof is not None:
        header = chain.sealed_header(note, from_base64(key_proof["header"]), key_proof["header_path"])
        keys = officer_keys(header, [key_proof["state_proof"]])
        demand(transaction.key_id in keys, "the leaf is not that of the signer's key")
        transaction.check_signature(*keys[transaction.key_id])
    return outcome, transaction, index


def check_bundle(genesis, bundle):
    demand(bundle["format"] == "mingzhang/evidence/v1", "bundle format")
    demand(bundle["origin"] == genesis.origin, "bundle of another network")
    demand(bundle["genesis_hash"] == genesis.hash.hex(), "bundle of another genesis")
    chain = Chain(genesis, bundle["handoffs"])
    said, notes = [], []
    if bundle.get("receipt") is not None:
        outcome, transaction, index = check_receipt(chain, bundle["receipt"], bundle.get("key"))
        stated = bundle.get("entry")
        if stated is not None:
            demand(stated["index"] == index, "another index is stated")
            demand(stated["outcome"]["code"] == outcome, "another outcome is stated")
            demand(stated["transaction_id"] == transaction.id.hex(), "another transaction is stated")
        said.append("entry %d, outcome %d" % (index, outcome))
        notes.append(Note(bundle["receipt"].partition("\n\n")[2]))
    if bundle.get("trail") is not None:
        bundled = bundle["trail"]
        sealed = bundled["sealed"]
        note = Note(sealed["checkpoint"])
        header = chain.sealed_header(note, from_base64(sealed["header"]), sealed["header_path"])
        keys = officer_keys(header, bundled.get("leaves", []))
        for trail in [bundled["trail"], *bundled.get("registries", [])]:
            count = check_trail(chain, header, trail, keys)
            said.append("all %d entries of %s %s" % (count, trail["kind"], trail["id"]))
        notes.append(note)
    proof = bundle.get("consistency")
    if proof is not None:
        covering = [note for note in notes if note.size == proof["to"]]
        if not covering:
            raise Inconclusive("no checkpoint of the consistency proof's size")
        path = list(map(from_base64, proof["path"]))
        check_consistency(proof["from"], proof["to"], from_base64(proof["from_root"]), covering[0].root, path)
    if not said:
        raise Inconclusive("the bundle holds neither receipt nor trail")
    return "; ".join(said) + chain.told()


def run(arguments):
    if len(arguments) not in (3, 4) or arguments[1] not in ("receipt", "trail", "bundle"):
        print(__doc__)
        return 2
    with open(arguments[0], "rb") as file:
        genesis = Genesis(file.read())
    with open(arguments[2], encoding="utf-8", newline="") as file:
        text = file.read()
    if arguments[1] == "bundle":
        return check_bundle(genesis, json.loads(text))
    handoffs = []
    if len(arguments) == 4:
        with open(arguments[3], encoding="utf-8") as file:
            handoffs = json.load(file)
    chain = Chain(genesis, handoffs)
    if arguments[1] == "receipt":
        outcome, transaction, index = check_receipt(chain, text)
        return "entry %d, %s, outcome %d" % (index, transaction.record_type, outcome) + chain.told()
    proof = json.loads(text)
    sealed = proof["sealed"]
    note = Note(sealed["checkpoint"])
    header = chain.sealed_header(note, from_base64(sealed["header"]), sealed["header_path"])
    count = check_trail(chain, header, proof["trail"], officer_keys(header, proof.get("leaves", [])))
    return "all %d entries" % count + chain.told()


def main():
    try:
        answer = run(sys.argv[1:])
    except Inconclusive as missing:
        print("CANNOT CONCLUDE:", missing)
        return 2
    except Failed as reason:
        print("FAILED:", reason)
        return 1
    except (KeyError, IndexError, TypeError, ValueError, UnicodeDecodeError) as malformed:
        print("FAILED: malformed:", malformed)
        return 1
    if isinstance(answer, int):
        return answer
    print("VERIFIED:", answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
