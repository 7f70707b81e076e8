"""The rules of the model registry: what becomes a version, and which version is the champion.

Pure judgements; `io/tracking` stores their outcome in MLflow, and the commands join the two.
"""
