//! Faults in the world: journalled before, observed, reverted after. Knows nothing of load.
