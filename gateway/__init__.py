"""HTTP and the command line: parses at the door, hands down, answers. The only package that imports aiohttp."""
