//! Memory for numbers, asked for in a way that lets the system say no: a slip of
//! zeros in a size must end in a sentence.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed};

use crate::error::{Error, Result};

/// How many numbers a shape has; `None` if no memory could hold so many.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size))?;
    Layout::array::<f32>(count).ok().map(|_| count)
}

/// Zeros of a shape, row-major. What of them is never written takes no memory
/// yet where the system gives pages as they are touched.
///
/// # Errors
/// [`Error::Config`] that names `what` they are for and how much memory they
/// would take, if there is not so much.
pub fn zeros(what: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let none = || too_large(what, shape);
    let count = count(shape).ok_or_else(none)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let layout = Layout::array::<f32>(count).map_err(|_| none())?;
    // SAFETY: the layout is of more than no bytes.
    let start = unsafe { alloc_zeroed(layout) }.cast::<f32>();
    if start.is_null() {
        return Err(none());
    }
    // SAFETY: the memory is the global allocator's, of the layout that a vector of
    // this capacity has, and its bytes are all zero, which is 0.0
    // (tests::zeros_are_a_vector_like_any_other).
    Ok(unsafe { Vec::from_raw_parts(start, count, count) })
}

/// Gives memory that was freed, and that the allocator keeps, back to the system. glibc keeps it
/// by the thread that asked for it: a model that was replaced many times would leave room
/// behind that others do not find. It takes milliseconds.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back() {
    // SAFETY: it has no precondition, and takes the allocator's own locks (malloc_trim(3);
    // tests::what_is_freed_is_given_back).
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators have no such thing.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

/// Bytes from which on memory is asked of the system by itself, and given back at once
/// when it is freed. By default glibc raises this to the largest that was freed, up to 32 MiB, and
/// what models leave behind then lies between what is in use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;

/// For a process whose models come and go: keeps what is large apart from what is small.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_large_apart() {
    // SAFETY: it takes the allocator's own lock and sets a number that other threads read each
    // time they ask for memory, whichever of its values they find (mallopt(3);
    // tests::what_is_large_is_given_back_when_it_is_freed).
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Other allocators have no such thing.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_large_apart() {}

/// That there is no memory for numbers of a shape.
pub(super) fn too_large(what: &str, shape: &[usize]) -> Error {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let bytes = shape.iter().map(|size| *size as f64).product::<f64>() * size_of::<f32>() as f64;
    Error::Config(format!(
        "{what}: {} numbers take {} of memory, more than there is; is a size too large?",
        sizes.join(" × "),
        in_words(bytes)
    ))
}

/// Bytes, in the unit that leaves few digits.
fn in_words(mut bytes: f64) -> String {
    for unit in ["bytes", "kB", "MB", "GB", "TB", "PB"] {
        if bytes < 1000.0 {
            return format!("{bytes:.0} {unit}");
        }
        bytes /= 1000.0;
    }
    if bytes < 1000.0 { format!("{bytes:.0} EB") } else { "more than 1000 EB".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_a_vector_like_any_other() {
        let mut numbers = zeros("numbers", &[3, 5]).unwrap();
        assert_eq!(numbers, [0.0; 15]);
        numbers[14] = 1.0;
        numbers.extend_from_slice(&[2.0; 100]);
        numbers.shrink_to(20);
        assert_eq!((numbers.len(), numbers[14], numbers[114]), (115, 1.0, 2.0));
        for empty in [&[0][..], &[7, 0]] {
            assert!(zeros("numbers", empty).unwrap().is_empty());
        }
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_is_freed_is_given_back() {
        // Pieces too small to be mapped one by one, and one in sixteen stays.
        let mut pieces: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; 1 << 16]).collect();
        let mut place = 0;
        pieces.retain(|_| {
            place += 1;
            place % 16 == 0
        });
        let before = resident();
        give_back();
        // 240 MiB are free; other tests may ask for some meanwhile.
        assert!(before > resident() + (120 << 20), "{before}, {}", resident());
        assert!(pieces.iter().all(|piece| piece.iter().all(|byte| *byte == 1)));
    }

    /// After 200 loads a server held up to a quarter more than after two.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_is_large_is_given_back_when_it_is_freed() {
        keep_large_apart();
        // By default this would raise what counts as large to 8 MiB.
        drop(std::hint::black_box(vec![1u8; 8 << 20]));
        let mut pieces: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 2 << 20]).collect();
        let before = resident();
        let mut place = 0;
        pieces.retain(|_| {
            place += 1;
            place % 16 == 0
        });
        // 120 MiB are free; other tests may ask for some meanwhile.
        assert!(before > resident() + (60 << 20), "{before}, {}", resident());
    }

    #[test]
    fn a_slip_of_zeros_is_told_by_a_sentence() {
        let said = |shape: &[usize]| zeros("parameter `tower.0.weight`", shape).unwrap_err().to_string();
        let petabytes = said(&[20, 10_000_000_000_000]);
        assert!(
            petabytes.contains("parameter `tower.0.weight`: 20 × 10000000000000 numbers take 800 TB"),
            "{petabytes}"
        );
        let overflow = said(&[usize::MAX, usize::MAX]);
        assert!(overflow.contains("more than 1000 EB"), "{overflow}");
        let wraps_to_nothing = said(&[1 << 32, 1 << 32]);
        assert!(wraps_to_nothing.contains("74 EB"), "{wraps_to_nothing}");
    }
}
