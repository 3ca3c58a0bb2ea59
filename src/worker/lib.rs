//! orchestrator-worker
