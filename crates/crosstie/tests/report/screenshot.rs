//! The page as a browser shows it, on a desk and on a phone.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use flate2::read::ZlibDecoder;

use super::drawn::findings;

/// Programs of which one may be there.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Side of the squares whose mean colours are compared: letters of another font differ,
/// what stands where does not.
const SQUARE: usize = 16;

/// A picture: its width, and red, green and blue of each point.
struct Picture {
    width: usize,
    points: Vec<[u8; 3]>,
}

/// Reads a PNG of 8 bits per channel, not interlaced (PNG specification, sections 5 to 9).
fn read(bytes: &[u8]) -> Picture {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (width, height, channels) = (number(16), number(20), if bytes[25] == 6 { 4 } else { 3 });
    assert_eq!((bytes[24], bytes[28]), (8, 0), "8 bits per channel, not interlaced");
    let (mut at, mut packed) = (8, Vec::new());
    while at < bytes.len() {
        if &bytes[at + 4..at + 8] == b"IDAT" {
            packed.extend_from_slice(&bytes[at + 8..at + 8 + number(at)]);
        }
        at += 12 + number(at);
    }
    let (mut rows, length) = (Vec::new(), width * channels);
    ZlibDecoder::new(&packed[..]).read_to_end(&mut rows).unwrap();
    let (mut above, mut points) = (vec![0u8; length], Vec::with_capacity(width * height));
    for row in rows.chunks_exact(length + 1) {
        let mut line = row[1..].to_vec();
        for place in 0..length {
            let left = if place < channels { 0 } else { line[place - channels] };
            let corner = if place < channels { 0 } else { above[place - channels] };
            let up = above[place];
            let near = |a: u8| (i32::from(left) + i32::from(up) - i32::from(corner) - i32::from(a)).abs();
            let predicted = match row[0] {
                0 => 0,
                1 => left,
                2 => up,
                3 => ((u16::from(left) + u16::from(up)) / 2) as u8,
                _ if near(left) <= near(up) && near(left) <= near(corner) => left,
                _ if near(up) <= near(corner) => up,
                _ => corner,
            };
            line[place] = line[place].wrapping_add(predicted);
        }
        points.extend(line.chunks_exact(channels).map(|point| [point[0], point[1], point[2]]));
        above = line;
    }
    Picture { width, points }
}

/// The mean colour of each square.
fn squares(picture: &Picture) -> Vec<[f64; 3]> {
    let across = picture.width.div_ceil(SQUARE);
    let down = (picture.points.len() / picture.width).div_ceil(SQUARE);
    let mut sums = vec![([0.0; 3], 0.0); across * down];
    for (index, point) in picture.points.iter().enumerate() {
        let (row, column) = (index / picture.width / SQUARE, index % picture.width / SQUARE);
        let (sum, count) = &mut sums[row * across + column];
        sum.iter_mut().zip(point).for_each(|(sum, value)| *sum += f64::from(*value));
        *count += 1.0;
    }
    sums.into_iter().map(|(sum, count)| sum.map(|sum| sum / count)).collect()
}

#[test]
fn the_page_looks_as_it_did_on_a_desk_and_on_a_phone() {
    let Some(browser) = BROWSERS.iter().find(|name| Command::new(name).arg("--version").output().is_ok()) else {
        eprintln!("skipped: there is no Chromium that could show the page");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("report.html"), findings(3, 4, "action").page()).unwrap();
    // A frame is as wide as it says, which a window need not be.
    let frames = "<!doctype html><style>* { margin: 0; border: 0 } iframe { height: 1300px; float: left }</style>\
                  <iframe src=\"report.html\" style=\"width: 1200px\"></iframe>\
                  <iframe src=\"report.html\" style=\"width: 390px\"></iframe>";
    std::fs::write(place.path().join("both.html"), frames).unwrap();
    let out = place.path().join("both.png");
    let ran = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
        .args(["--hide-scrollbars", "--window-size=1590,1300"])
        .arg(format!("--user-data-dir={}", place.path().join("user").display()))
        .arg(format!("--screenshot={}", out.display()))
        .arg(format!("file://{}", place.path().join("both.html").display()))
        .output()
        .unwrap();
    let Ok(made) = std::fs::read(&out) else {
        eprintln!("skipped: {browser} made no picture: {}", String::from_utf8_lossy(&ran.stderr));
        return;
    };
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/screenshot.png");
    if std::env::var_os("CROSSTIE_WRITE_DOCS").is_some() {
        std::fs::write(&kept, &made).unwrap();
    }
    let (made, kept) = (read(&made), read(&std::fs::read(kept).unwrap()));
    assert_eq!((made.width, made.points.len()), (kept.width, kept.points.len()));
    let (made, kept) = (squares(&made), squares(&kept));
    let differs = |(a, b): &(&[f64; 3], &[f64; 3])| a.iter().zip(*b).any(|(a, b)| (a - b).abs() > 24.0);
    let others = made.iter().zip(&kept).filter(differs).count();
    assert!(
        others * 50 < made.len(),
        "{others} of {} squares differ; if that is meant: CROSSTIE_WRITE_DOCS=1 cargo test --workspace --test report",
        made.len()
    );
    // A page that shows nothing would differ from no other such page.
    let drawn = made.iter().filter(|square| square.iter().any(|value| *value < 235.0)).count();
    assert!(drawn * 20 > made.len(), "{drawn} of {} squares show something", made.len());
}
