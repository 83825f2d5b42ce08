//! Slots of a cluster: which one a key lies in.
//!
//! Invariant: CRC16 (XMODEM) of the hash tag modulo 16384, as the servers count.

/// Slots of a cluster.
pub const SLOTS: u16 = 16384;

/// The slot of a key.
pub fn of(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS
}

/// What is hashed: the text between the first `{` and the `}` after it, when it is not empty.
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    match memchr::memchr(b'}', &key[open + 1..]) {
        None | Some(0) => key,
        Some(len) => &key[open + 1..open + 1 + len],
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    let turn = |crc: u16, _| if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ (u16::from(*byte) << 8), turn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_as_the_servers_count_them() {
        assert_eq!((of(b"foo"), of(b"123456789"), of(b"")), (12182, 12739, 0));
        assert_eq!(of(b"a{foo}b"), of(b"foo"));
        assert_ne!(of(b"{}foo"), of(b"foo"));
    }
}
