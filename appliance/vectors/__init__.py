"""The vector index: nominates FAQ phrasings; the store decides what they say.

`server` is the embedded index as a child process, `client` what the appliance calls. This is the
only place that imports pymilvus and milvus_lite, and never before it must: they cost a second.
"""
