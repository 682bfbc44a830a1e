"""Scalars of a TensorBoard event file, with the standard library: checks every checksum.

    python read_events.py FILE          one line of JSON per event
"""
import json
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def records(file):
    while head := file.read(12):
        length, check = struct.unpack("<QI", head)
        assert masked(head[:8]) == check, "a length is damaged"
        data = file.read(length)
        assert struct.unpack("<I", file.read(4)) == (masked(data),), "a record is damaged"
        yield data


def fields(message):
    """(number, value) of each field of a protocol buffer message: integers, floats and bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        else:
            size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
            value = message[at:at + size]
            at += size
            if kind != 2:
                value = struct.unpack("<d" if kind == 1 else "<f", value)[0]
        yield key >> 3, value


def events(path):
    with open(path, "rb") as file:
        for record in records(file):
            event = dict(fields(record))
            values = [dict(fields(value)) for _, value in fields(event.get(5, b""))]
            yield {
                "wall_time": event[1], "step": event.get(2, 0),
                **({"file_version": event[3].decode()} if 3 in event else {"scalars": {value[1].decode(): value[2] for value in values}}),
            }


if __name__ == "__main__":
    for event in events(sys.argv[1]):
        print(json.dumps(event))
