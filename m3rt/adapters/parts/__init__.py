"""What several adapters share: documents, layouts, the base of collections, loading, ids, rerankers."""
