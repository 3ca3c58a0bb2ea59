//! The native addon of OpenCode Orchestrator.
