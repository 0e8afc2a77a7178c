#!/bin/sh
# Starts slapd; the first start on an empty volume loads /container/ldif/*.ldif.
# The configuration is made anew from the environment at every start, so that
# the volume holds entries and nothing else.
set -eu

if [ "${1:-}" != slapd ]; then
    exec "$@"
fi
shift

organisation=${LDAP_ORGANISATION:-Example Inc.}
domain=${LDAP_DOMAIN:-example.org}
base=dc=$(printf %s "$domain" | sed 's/\./,dc=/g')
config=/etc/ldap/slapd.d
data=/var/lib/ldap/db
loading=$data.loading

# slapd sizes its tables by this limit, and some engines set a billion.
ulimit -n 1024

as_openldap() {
    setpriv --reuid=openldap --regid=openldap --clear-groups "$@"
}

# Through a pipe from the shell's own printf: never in a command line.
hash() {
    printf %s "$1" | slappasswd -n -T /dev/stdin
}

# configure DIRECTORY: writes a configuration whose entries live there.
configure() {
    rm -rf "$config"
    install -d -o openldap -g openldap -m 0700 "$config"
    as_openldap slapadd -n 0 -F "$config" <<END
dn: cn=config
objectClass: olcGlobal
cn: config
olcToolThreads: 1

dn: cn=module{0},cn=config
objectClass: olcModuleList
cn: module{0}
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb
olcModuleLoad: dynlist

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif
include: file:///etc/ldap/schema/cosine.ldif
include: file:///etc/ldap/schema/inetorgperson.ldif
include: file:///etc/ldap/schema/nis.ldif
include: file:///etc/ldap/schema/dyngroup.ldif

dn: olcDatabase={-1}frontend,cn=config
objectClass: olcDatabaseConfig
objectClass: olcFrontendConfig
olcDatabase: {-1}frontend
olcAccess: to dn.base="" by * read
olcAccess: to dn.base="cn=subschema" by * read

dn: olcDatabase={0}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {0}config
olcRootDN: cn=admin,cn=config
olcRootPW: $config_password
olcAccess: to * by * none

dn: olcDatabase={1}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {1}mdb
olcSuffix: $base
olcDbDirectory: $1
olcDbMaxSize: 268435456
olcRootDN: cn=admin,$base
olcRootPW: $admin_password
olcAccess: to attrs=userPassword by self =xw by anonymous auth by * none
olcAccess: to * by users read by * none
olcDbIndex: objectClass,entryUUID,entryCSN,uid,mail,member,memberUid eq
olcDbIndex: cn,sn,givenName eq,sub

# memberOf, worked out from the groups when it is asked for. The memberof
# overlay would store it, but slapadd does not run overlays.
dn: olcOverlay={0}dynlist,olcDatabase={1}mdb,cn=config
objectClass: olcOverlayConfig
objectClass: olcDynListConfig
olcOverlay: {0}dynlist
olcDynListAttrSet: groupOfURLs memberURL member+memberOf@groupOfNames
END
}

load() {
    if ! grep -qixs "dn: $base" /container/ldif/*.ldif; then
        as_openldap slapadd -n 1 -F "$config" <<END
dn: $base
objectClass: top
objectClass: dcObject
objectClass: organization
o: $organisation
dc: ${domain%%.*}
END
    fi
    for file in /container/ldif/*.ldif; do
        if [ -e "$file" ]; then as_openldap slapadd -n 1 -F "$config" < "$file"; fi
    done
}

# secret NAME DEFAULT: the variable, or the content of the file that NAME_FILE names.
secret() {
    eval "value=\${$1:-} file=\${$1_FILE:-}"
    if [ -z "$value" ] && [ -n "$file" ]; then value=$(cat "$file"); fi
    printf %s "${value:-$2}"
}

admin_password=$(hash "$(secret LDAP_ADMIN_PASSWORD admin)")
config_password=$(hash "$(secret LDAP_CONFIG_PASSWORD config)")
unset LDAP_ADMIN_PASSWORD LDAP_CONFIG_PASSWORD

# Loaded beside its place and renamed when complete and on disk: whatever kills
# a first start, the next one finds all of it or starts again.
if [ ! -d "$data" ]; then
    rm -rf "$loading"
    install -d -o openldap -g openldap -m 0700 /var/lib/ldap "$loading"
    configure "$loading"
    load
    sync "$loading"/* "$loading"
    mv "$loading" "$data"
    sync /var/lib/ldap
fi

configure "$data"
exec slapd -d "${LDAP_LOG_LEVEL:-none}" -u openldap -g openldap -F "$config" -h ldap:/// "$@"
