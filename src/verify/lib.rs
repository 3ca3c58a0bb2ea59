//! orchestrator-verify
