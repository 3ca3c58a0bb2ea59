//! The native addon of OpenCode Orchestrator. See `docs/ARCHITECTURE.md`.

#[expect(unreachable_pub, reason = "napi exports by attribute, and wants its items public")]
mod bindings;
