import Foundation

/// Whether this host is a literal address that only the machine's own link knows, such as the instance metadata
/// service's. No proxy is ever asked for one (S33). Every spelling that inet_aton(3) reads counts.
func isLinkLocal(host: String) -> Bool {
    var four = in_addr()
    if inet_aton(host, &four) != 0 { return UInt32(bigEndian: four.s_addr) >> 16 == 0xa9fe }
    var six = in6_addr()
    let bare = host.trimmingCharacters(in: ["[", "]"])
    guard inet_pton(AF_INET6, bare, &six) == 1 else { return false }
    return withUnsafeBytes(of: &six) { bytes in
        let isLink = bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80  // fe80::/10
        let isAmazon = bytes.prefix(4).elementsEqual([0xfd, 0x00, 0x0e, 0xc2])  // fd00:ec2::/32
        let isMapped = bytes.prefix(12).elementsEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
        return isLink || isAmazon || (isMapped && bytes[12] == 0xa9 && bytes[13] == 0xfe)
    }
}
