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
            for piece in (b"GET / HTTP/1.1\r\nHost: h\r", b"\n\r\nGET / HTTP/1.1\r\n\r\nGET"):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)
            writer.write_eof()
            answers = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answers

    assert asyncio.run(talk()) == ANSWER * 2
