//! Tables of section 5 and of the rows of section 7 about pods.
