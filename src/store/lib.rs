//! orchestrator-store
