"""What people write first: FastAPI around SentenceTransformer.encode(). Runs with an interpreter that has both.

python plain_server.py CHECKPOINT PORT THREADS
"""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

checkpoint, port, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
model = SentenceTransformer(checkpoint, device="cpu")
app = FastAPI()


class Request(BaseModel):
    input: str | list[str]


@app.post("/v1/embeddings")
def embeddings(request: Request) -> dict[str, object]:
    texts = [request.input] if isinstance(request.input, str) else request.input
    vectors = model.encode(texts, normalize_embeddings=True)
    return {"data": [{"index": i, "embedding": vector.tolist()} for i, vector in enumerate(vectors)]}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
