//! The native addon of OpenCode Orchestrator. See `docs/ARCHITECTURE.md`.

#[expect(unreachable_pub, reason = "napi exports by attribute, and wants its items public")]
mod bindings;

/// Searches make many small values on several threads, and are quicker with it by a tenth, `jq` by a quarter. What the
/// libraries in C take comes from the system as before. It asks for no huge pages (`no_thp`): a process that makes one small
/// call would wait for megabytes to be cleared.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
