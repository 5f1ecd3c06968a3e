"""The server the ceiling is measured on."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from chaosbandit.child_server import module_as_server
from chaosbandit.doctor.ceiling_server import ANSWER


def test_requests_in_any_pieces_get_an_answer_each() -> None:
    async def talk() -> bytes:
        async with module_as_server("chaosbandit.doctor.ceiling_server") as url:
            parts = urlsplit(url)
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: h\r")
            first = await reader.readexactly(len(ANSWER))  # so the rest is another piece
            writer.write(b"\n\r\nGET")
            writer.write_eof()
            answers = first + await reader.read()
            writer.close()
            await writer.wait_closed()
            return answers

    assert asyncio.run(talk()) == ANSWER * 2
