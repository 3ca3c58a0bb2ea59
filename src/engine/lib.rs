//! orchestrator-engine
