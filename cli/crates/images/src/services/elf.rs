//! Reads from an ELF header whether a binary is dynamically linked.
//! <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html>

/// The type of the program header that names an interpreter, which loads libraries.
pub(super) const PT_INTERP: u32 = 3;

/// The layout of the program headers, by the class of the file.
struct ElfLayout {
    e_phoff: usize,
    e_phentsize: usize,
    e_phnum: usize,
    /// Offset and size of the contents, in a program header.
    segment_offset_and_size: (usize, usize),
    /// The width of addresses, in bytes.
    address_width: usize,
}

const LAYOUT_32: ElfLayout = ElfLayout {
    e_phoff: 0x1c,
    e_phentsize: 0x2a,
    e_phnum: 0x2c,
    segment_offset_and_size: (0x04, 0x10),
    address_width: 4,
};

const LAYOUT_64: ElfLayout = ElfLayout {
    e_phoff: 0x20,
    e_phentsize: 0x36,
    e_phnum: 0x38,
    segment_offset_and_size: (0x08, 0x20),
    address_width: 8,
};

/// Returns the interpreter that a program requires, `None` if it is static. The error is
/// the reason why the bytes are not a Linux program.
pub(super) fn interpreter(program: &[u8]) -> Result<Option<String>, &'static str> {
    if !program.starts_with(b"\x7fELF") {
        return Err("it is not an ELF file");
    }
    let layout = match program.get(4) {
        Some(1) => LAYOUT_32,
        Some(2) => LAYOUT_64,
        _ => return Err("its ELF class is unknown"),
    };
    let file = ElfFile {
        bytes: program,
        is_little_endian: program.get(5) == Some(&1),
    };
    file.interpreter(&layout)
        .ok_or("its program headers are truncated")
}

struct ElfFile<'a> {
    bytes: &'a [u8],
    is_little_endian: bool,
}

impl ElfFile<'_> {
    fn interpreter(&self, layout: &ElfLayout) -> Option<Option<String>> {
        let start = self.read_uint(layout.e_phoff, layout.address_width)?;
        let size = self.read_uint(layout.e_phentsize, 2)?;
        for index in 0..self.read_uint(layout.e_phnum, 2)? {
            let header = start.checked_add(index.checked_mul(size)?)?;
            if self.read_uint(header, 4)? != PT_INTERP as usize {
                continue;
            }
            let offset = self.read_uint(
                header.checked_add(layout.segment_offset_and_size.0)?,
                layout.address_width,
            )?;
            let length = self.read_uint(
                header.checked_add(layout.segment_offset_and_size.1)?,
                layout.address_width,
            )?;
            let name = self.bytes.get(offset..offset.checked_add(length)?)?;
            let name = String::from_utf8_lossy(name);
            return Some(Some(name.trim_end_matches('\0').to_owned()));
        }
        Some(None)
    }

    fn read_uint(&self, offset: usize, width: usize) -> Option<usize> {
        let bytes = self.bytes.get(offset..offset.checked_add(width)?)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = if self.is_little_endian {
            bytes.iter().rev().fold(0, join)
        } else {
            bytes.iter().fold(0, join)
        };
        usize::try_from(number).ok()
    }
}

/// Returns a little-endian 64-bit file with one program header of this type.
#[cfg(test)]
pub(super) fn example_file(kind: u32) -> Vec<u8> {
    let mut file = vec![0; 0x40 + 0x38];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[0x20] = 0x40;
    file[0x36] = 0x38;
    file[0x38] = 1;
    file[0x40..0x44].copy_from_slice(&kind.to_le_bytes());
    file[0x48] = 0x78;
    file[0x60] = 8;
    file.extend(b"/lib/ld\0");
    file
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn interpreter_is_found_in_a_dynamic_program() {
        assert_eq!(
            interpreter(&example_file(PT_INTERP)),
            Ok(Some("/lib/ld".into()))
        );
        assert_eq!(interpreter(&example_file(1)), Ok(None));
    }

    #[test]
    fn this_test_binary_is_static() {
        // It is built with the same flags as the services: .cargo/config.toml.
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(interpreter(&this), Ok(None));
    }

    #[test]
    fn system_shell_is_dynamic() {
        let shell = std::fs::read("/bin/sh").unwrap();
        let path = interpreter(&shell).unwrap();
        assert!(path.is_some_and(|path| path.contains("ld")));
    }

    #[test]
    fn interpreter_refuses_files_that_are_not_elf() {
        assert!(interpreter(b"").is_err());
        assert!(interpreter(b"#!/bin/sh\n").is_err());
        assert!(interpreter(&example_file(PT_INTERP)[..0x50]).is_err());
    }

    proptest! {
        #[test]
        fn interpreter_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for (index, byte) in b"\x7fELF\x02\x01".iter().enumerate() {
                if let Some(target) = bytes.get_mut(index) {
                    *target = *byte;
                }
            }
            let _ = interpreter(&bytes);
        }
    }
}
