//! (plan, recording) -> verdict. Pure, so that a saved run can be judged again.
