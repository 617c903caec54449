# Which addresses the backend's name has, for follow-replicas and replicas.
package Replicas;
use strict;
use warnings;
use Exporter qw(import);
use Socket qw(getaddrinfo unpack_sockaddr_in inet_ntoa AF_INET SOCK_STREAM);
our @EXPORT_OK = qw(addresses_of);

# resolv.conf(5): by default 5 s, twice.
$ENV{RES_OPTIONS} = 'timeout:1 attempts:2';

# The IPv4 addresses of a host, in order; none if it does not resolve.
sub addresses_of {
    my ($error, @found) = getaddrinfo(shift, '', { family => AF_INET, socktype => SOCK_STREAM });
    return sort map { inet_ntoa((unpack_sockaddr_in $_->{addr})[1]) } @found;
}

1;
