//! Fields as they stand in a header of HTTP/2 (RFC 7541), written so that nobody has to know what came
//! before: no table is used but the one that never changes, nothing is put into the other, and
//! strings stand as they are.

/// Puts a field behind what is there.
pub(super) fn put_field(name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    block.push(NEVER_INDEXED);
    put_string(name, block);
    put_string(value, block);
}

/// Puts the status of an answer, with which its header begins.
pub(super) fn put_status(status: &str, block: &mut Vec<u8>) {
    block.push(NEVER_INDEXED | STATUS);
    put_string(status.as_bytes(), block);
}

/// Puts the size of the other table, with which a header begins.
pub(super) fn put_table_size(size: u32, block: &mut Vec<u8>) {
    put_number(SIZE_UPDATE, SIZE_PREFIX, usize::try_from(size).unwrap_or(usize::MAX), block);
}

/// A string; the bit in front of its length says that it is not compressed.
fn put_string(text: &[u8], block: &mut Vec<u8>) {
    put_number(0, PREFIX, text.len(), block);
    block.extend_from_slice(text);
}

/// A number behind the bits that say what it is; `prefix` is what the byte that it shares with them
/// can just not hold (RFC 7541, section 5.1).
fn put_number(what: u8, prefix: usize, number: usize, block: &mut Vec<u8>) {
    let low = |number: usize| number.to_le_bytes()[0];
    let Some(mut rest) = number.checked_sub(prefix) else {
        block.push(what | low(number));
        return;
    };
    block.push(what | low(prefix));
    while rest >= 128 {
        block.push(low(rest) | 0x80);
        rest >>= 7;
    }
    block.push(low(rest));
}

/// A literal that no table keeps, with its name (section 6.2.3).
const NEVER_INDEXED: u8 = 0x10;
/// The place of `:status` in the table that never changes (appendix A).
const STATUS: u8 = 8;
/// What the prefix of a length can just not hold.
const PREFIX: usize = 127;
/// A new size of the table (section 6.3).
const SIZE_UPDATE: u8 = 0x20;
/// What the prefix of a size can just not hold.
const SIZE_PREFIX: usize = 31;
/// The most bytes that a size takes that is below the one that a table begins with.
pub(super) const TABLE_SIZE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_by_the_letter() {
        let mut block = Vec::new();
        put_status("103", &mut block);
        put_field(b"link", b"</a>", &mut block);
        assert_eq!(block, b"\x18\x03103\x10\x04link\x04</a>");
    }

    #[test]
    fn lengths_are_written_as_the_standard_has_them() {
        let cases: [(usize, &[u8]); 5] = [
            (0, &[0]),
            (126, &[126]),
            (127, &[127, 0]),
            (1_337, &[127, 0b1011_1010, 9]),
            (16_384, &[127, 0b1000_0001, 0b0111_1111]),
        ];
        for (length, expected) in cases {
            let mut block = Vec::new();
            put_number(0, PREFIX, length, &mut block);
            assert_eq!(block, expected, "{length}");
        }
        let sizes: [(u32, &[u8]); 4] =
            [(0, &[0x20]), (30, &[0x3e]), (31, &[0x3f, 0]), (4_095, &[0x3f, 0xe0, 0x1f])];
        for (size, expected) in sizes {
            let mut block = Vec::new();
            put_table_size(size, &mut block);
            assert_eq!(block, expected, "{size}");
            assert!(block.len() <= TABLE_SIZE, "{size}");
        }
    }
}
