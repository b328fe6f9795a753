//! What the tests of the whole share.

pub mod assured;
pub mod chain;
pub mod chaos;
pub mod fuzz;
pub mod load;
pub mod small_disk;
pub mod work;
pub mod world;
