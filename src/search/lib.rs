//! orchestrator-search
