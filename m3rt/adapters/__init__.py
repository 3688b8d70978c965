"""Where vectors go: databases, frameworks and engines of many machines.

A module for each of them, named after it. Nothing here is imported by `import m3rt`, and each module imports its
package only where it calls it or derives from it. What turns embeddings into a database's rows needs numpy alone.
"""
