#!/usr/bin/env python3
"""A TCP proxy on loopback that spoils what passes through it, for tests of connections that are lost in mid-stream.

    faultproxy.py --to HOST:PORT [--listen PORT] [--port-file FILE] [--keep-running] FAULT…

Prints the port that it listens on as its first line (and writes it to FILE, whole), then one line a connection on
stderr. Ends on SIGTERM, and without --keep-running when its standard input ends, so that it never outlives its test.

Faults; N counts the bytes that the server sent on one connection, from its first:
    --latency SECONDS       each piece is held back for so long, in both directions
    --rate BYTES            at most so many bytes a second from the server
    --slice BYTES           pieces from the server of at most so many bytes
    --reset-after N         after N bytes both sides get a reset (RST)
    --truncate-at N         after N bytes the client sees an orderly end (FIN), as if the answer were over
    --stall-at N            after N bytes nothing more comes, and nothing is closed
    --corrupt-at N          the bits of byte N (the first is 0) are inverted
    --half-close            the server sees the client's end as soon as it connected; the client can go on reading
    --refuse                connections are accepted and reset at once
    --connections A-B       only the A-th to B-th connection is spoiled (from 1; A, A- and -B work), others pass whole
    --match TEXT            only connections whose first piece from the client holds TEXT, as a method and path
"""

import argparse
import asyncio
import os
import socket
import struct
import sys

PIECE = 65536


def address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def ordinals(text):
    first, dash, last = text.partition("-")
    low = int(first) if first else 1
    high = int(last) if last else (float("inf") if dash else low)
    return low, high


def reset(writer):
    """Closes so that the peer gets an RST: lingering for zero seconds throws away what was not sent."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Proxy:
    def __init__(self, options):
        self.options = options
        self.accepted = 0

    async def serve_connection(self, client_reader, client):
        self.accepted += 1
        ordinal = self.accepted
        low, high = self.options.connections
        faulty = low <= ordinal <= high
        server = None
        try:
            first = b""
            if faulty and self.options.match is not None:
                first = await client_reader.read(PIECE)
                faulty = self.options.match.encode() in first
            print(f"connection {ordinal}: {'faulty' if faulty else 'whole'}", file=sys.stderr, flush=True)
            if faulty and self.options.refuse:
                return reset(client)
            server_reader, server = await asyncio.open_connection(*self.options.to)
            await self.relay(client_reader, client, server_reader, server, first, faulty)
        except (ConnectionError, OSError) as error:
            print(f"connection {ordinal}: {error}", file=sys.stderr, flush=True)
        except asyncio.CancelledError:
            pass  # the proxy ends, and with it a connection that was stalled on purpose
        finally:
            for writer in (client, server):
                if writer is not None:
                    writer.close()

    async def relay(self, client_reader, client, server_reader, server, first, faulty):
        """Ends when both directions have ended, or as soon as a fault has ended the connection."""
        upward = asyncio.create_task(self.upward(client_reader, server, first, faulty))
        downward = asyncio.create_task(self.downward(server_reader, client, server, faulty))
        try:
            await downward
            # The server is done; a client that still writes would do so to nobody.
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)
        finally:
            for task in (upward, downward):
                task.cancel()

    async def upward(self, reader, writer, first, faulty):
        piece = first
        if faulty and self.options.half_close:
            writer.write_eof()
            return
        while True:
            if piece:
                if faulty and self.options.latency:
                    await asyncio.sleep(self.options.latency)
                writer.write(piece)
                await writer.drain()
            piece = await reader.read(PIECE)
            if not piece:
                break
        writer.write_eof()

    async def downward(self, reader, client, server, faulty):
        options = self.options
        sent = 0
        end = next((n for n in (options.reset_after, options.truncate_at, options.stall_at) if n is not None), None)
        while True:
            if faulty and end is not None and sent >= end:
                if options.reset_after is not None:
                    reset(client)
                    reset(server)
                elif options.stall_at is not None:
                    await asyncio.Event().wait()  # until the test ends the proxy
                return
            limit = PIECE
            if faulty:
                limit = min([PIECE] + [n for n in (options.slice, options.rate) if n])
                if end is not None:
                    limit = min(limit, end - sent)
            piece = await reader.read(limit)
            if not piece:
                return
            if faulty:
                piece = await self.spoil(piece, sent)
            client.write(piece)
            await client.drain()
            sent += len(piece)

    async def spoil(self, piece, sent):
        options = self.options
        if options.latency:
            await asyncio.sleep(options.latency)
        if options.rate:
            await asyncio.sleep(len(piece) / options.rate)
        if options.corrupt_at is not None and sent <= options.corrupt_at < sent + len(piece):
            changed = bytearray(piece)
            changed[options.corrupt_at - sent] ^= 0xFF
            return bytes(changed)
        return piece


async def until_input_ends():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(PIECE):
        pass


async def run(options):
    server = await asyncio.start_server(Proxy(options).serve_connection, "127.0.0.1", options.listen)
    port = server.sockets[0].getsockname()[1]
    if options.port_file:
        with open(options.port_file + ".new", "w", encoding="ascii") as file:
            file.write(f"{port}\n")
        os.replace(options.port_file + ".new", options.port_file)
    print(port, flush=True)
    if options.keep_running:
        await asyncio.Event().wait()
    await until_input_ends()


def parse(arguments):
    parser = argparse.ArgumentParser(description="A TCP proxy that spoils what passes through it.")
    parser.add_argument("--to", type=address, required=True, metavar="HOST:PORT")
    parser.add_argument("--listen", type=int, default=0, metavar="PORT")
    parser.add_argument("--port-file", metavar="FILE")
    parser.add_argument("--keep-running", action="store_true", help="do not end with standard input")
    parser.add_argument("--latency", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--rate", type=int, metavar="BYTES")
    parser.add_argument("--slice", type=int, metavar="BYTES")
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--reset-after", type=int, metavar="N")
    ends.add_argument("--truncate-at", type=int, metavar="N")
    ends.add_argument("--stall-at", type=int, metavar="N")
    parser.add_argument("--corrupt-at", type=int, metavar="N")
    parser.add_argument("--half-close", action="store_true")
    parser.add_argument("--refuse", action="store_true")
    parser.add_argument("--connections", type=ordinals, default=(1, float("inf")), metavar="A-B")
    parser.add_argument("--match", metavar="TEXT")
    return parser.parse_args(arguments)


try:
    asyncio.run(run(parse(sys.argv[1:])))
except KeyboardInterrupt:
    sys.exit(130)
