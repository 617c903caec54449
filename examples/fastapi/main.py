"""FastAPI: two WebSocket routes, HTTP routes, and a lifespan with a pool of database connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, WebSocket
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

database = create_async_engine("sqlite+aiosqlite:////tmp/notes.db", pool_size=5)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS notes (room TEXT, note TEXT)"))
    yield
    await database.dispose()


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws/echo")
async def echo(ws: WebSocket) -> None:
    await ws.accept()
    while (message := await ws.receive())["type"] == "websocket.receive":
        await ws.send({**message, "type": "websocket.send"})


@app.websocket("/ws/notes/{room}")
async def write_notes(ws: WebSocket, room: str) -> None:
    await ws.accept()
    async for note in ws.iter_text():
        async with database.begin() as connection:
            await connection.execute(text("INSERT INTO notes VALUES (:room, :note)"), {"room": room, "note": note})
        await ws.send_text("stored")


@app.get("/api/notes/{room}")
async def read_notes(room: str) -> list[str]:
    async with database.connect() as connection:
        rows = await connection.scalars(text("SELECT note FROM notes WHERE room = :room"), {"room": room})
        return list(rows)


@app.get("/api/whoami")
async def whoami(request: Request) -> dict[str, str]:
    return {"address": request.client.host if request.client else "", "url": str(request.url)}
