"""Bulk writes into the hashes of Feast's RedisOnlineStore: many keys a command, the newer row winning on the server.

Feast keeps all views of a key in one hash: a field for each feature, named by a hash of its name, and one for the row's time.
It asks for every key's stored time, then writes the rows that are newer; here a script on the server does both at once, so
two writers cannot pass each other between asking and writing. For one server: a cluster would want each key by itself.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from itertools import chain
from typing import Any

import mmh3
import numpy as np
import redis
from redis.exceptions import NoScriptError

from feature_repo.bulk_online.stored_rows import StoredRows
from feature_repo.bulk_online.varints import varints

KEYS_PER_COMMAND = 256  # other clients wait while one command runs: about a millisecond
IN_FLIGHT = 4  # commands sent ahead of their answers

_SCRIPT = """
local function moment(stamp)
    local seconds, nanos, at = 0, 0, 1
    while at <= #stamp do
        local tag, value, scale = stamp:byte(at), 0, 1
        repeat
            at = at + 1
            value = value + (stamp:byte(at) % 128) * scale
            scale = scale * 128
        until stamp:byte(at) < 128
        at = at + 1
        if tag == 8 then seconds = value else nanos = value end
    end
    return seconds, nanos
end

local function newer(stamp, held)
    if stamp == held then return false end
    local seconds, nanos = moment(stamp)
    local held_seconds, held_nanos = moment(held)
    return seconds > held_seconds or (seconds == held_seconds and nanos > held_nanos)
end

local stamp_field, features = ARGV[1], tonumber(ARGV[2])
local fields, written, at = {stamp_field}, 0, 2 + features
for place = 1, features do fields[2 * place + 1] = ARGV[2 + place] end
for place = 1, #KEYS do
    local stamp = ARGV[at + 1]
    local held = redis.call('HGET', KEYS[place], stamp_field)
    if not held or held == '' or newer(stamp, held) then
        fields[2] = stamp
        for feature = 1, features do fields[2 * feature + 2] = ARGV[at + 1 + feature] end
        redis.call('HSET', KEYS[place], unpack(fields))
        written = written + 1
    end
    at = at + 1 + features
end
return written
"""
_DIGEST = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest().encode()  # the server's name for it


class RedisWriter:
    """Writes encoded rows of Feast project `project` into the Redis of `address` (Feast's form: host:port,name=value,...).

    For one thread; close it after use.
    """

    def __init__(self, address: str, project: str) -> None:
        self._project = project.encode()
        self._client = redis.Redis(**connection_options(address))
        self._client.script_load(_SCRIPT)

    def write(self, rows: StoredRows) -> int:
        """Write the rows whose keys hold no row as new or newer; returns how many those were.

        Rows become visible KEYS_PER_COMMAND keys at a time. Raises redis.RedisError; what was written until then stays, and
        the same call again completes it.
        """
        try:
            return self._send(rows)
        except NoScriptError:  # the server was restarted and has forgotten it
            self._client.script_load(_SCRIPT)
            return self._send(rows)

    def close(self) -> None:
        self._client.close()

    def _send(self, rows: StoredRows) -> int:
        connection = self._client.connection_pool.get_connection()
        written, unanswered = 0, 0
        try:
            for command in self._commands(rows):
                connection.send_packed_command(command)
                unanswered += 1
                if unanswered > IN_FLIGHT:
                    written += connection.read_response()
                    unanswered -= 1
            for _ in range(unanswered):
                written += connection.read_response()
        except BaseException:
            connection.disconnect()  # answers of commands already sent must not be taken for those of later ones
            raise
        finally:
            self._client.connection_pool.release(connection)
        return written

    def _commands(self, rows: StoredRows) -> Iterator[list[bytes]]:
        """The packed commands, each for the next KEYS_PER_COMMAND keys."""
        names = [feature.name for feature in rows.features]
        fields = [f"_ts:{rows.view}".encode(), str(len(names)).encode(), *(field_name(rows.view, name) for name in names)]
        columns = [stored_times(rows.stamps_us), *(feature.values for feature in rows.features)]
        for start in range(0, len(rows), KEYS_PER_COMMAND):
            here = slice(start, start + KEYS_PER_COMMAND)
            keys = [key + self._project for key in rows.keys[here]]
            values = chain.from_iterable(zip(*(column[here] for column in columns), strict=True))
            head = [b"EVALSHA", _DIGEST, str(len(keys)).encode()]
            yield [_packed([*head, *keys, *fields, *values])]


def connection_options(address: str) -> dict[str, Any]:
    """Keyword arguments of redis.Redis from an address as Feast writes it: host:port, then name=value, with commas between.

    Values are JSON where they can be read so, else text, as Feast reads them.
    """
    host, *rest = address.split(",")
    name, _, port = host.partition(":")
    options: dict[str, Any] = {"host": name, "port": int(port or 6379)}
    for pair in rest:
        key, _, value = pair.partition("=")
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options


def field_name(view: str, feature: str) -> bytes:
    """Field of a key's hash that holds `feature` of `view`."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def stored_times(stamps_us: np.ndarray) -> list[bytes]:
    """Serialised `google.protobuf.Timestamp` of every stamp (n,); a zero part is left out of the message."""
    seconds, micros = np.divmod(stamps_us, 1_000_000)
    parts = zip(_field(b"\x08", seconds), _field(b"\x10", micros * 1_000), strict=True)
    return [first + second for first, second in parts]


def _field(tag: bytes, numbers: np.ndarray) -> list[bytes]:
    encoded, lengths = varints(numbers)
    ends = np.cumsum(lengths).tolist()
    return [
        tag + encoded[end - length : end] if number else b""
        for number, end, length in zip(numbers.tolist(), ends, lengths.tolist(), strict=True)
    ]


def _packed(arguments: list[bytes]) -> bytes:
    """One command in Redis's wire format."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    return b"".join(parts)
