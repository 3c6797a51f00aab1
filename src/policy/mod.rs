//! Pure state machines, `(state, fact, now) → (state, action)`: what an engine does that supervises containers.
